"""Polygons to soft masks, with a gradient: U(x) = sigmoid(s(x) d(x)^2 / tau).

s is +1 where the winding number is not 0 and -1 elsewhere, d the distance to the nearest edge in pixels of the grid.
Which edge is nearest and on which side a pixel lies has no gradient: both are found first, and only the distance to
that one edge is then traced. So memory is that of the grid, not of grid times edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["inside", "nearest_edges", "soft"]

_SHORT = 1e-12  # the square of an edge without length: its two ends are one point


def soft(vertices: Tensor, height: int, width: int, tau: float = 0.1) -> Tensor:
    """Masks [n, height, width] of polygons [n, k, 2], columns and rows in pixels: (.5, .5) is the first pixel's centre.

    The last vertex is joined to the first. Values lie in 0 to 1, about .5 at the outline. ValueError for ``tau <= 0``
    or another shape.
    """
    if vertices.ndim != 3 or vertices.shape[2] != 2 or vertices.shape[1] < 3:
        raise ValueError(f"vertices: got {list(vertices.shape)}, wanted [n, at least 3, 2]")
    if tau <= 0:
        raise ValueError(f"tau: got {tau}, wanted above 0")
    n = len(vertices)
    with torch.no_grad():
        edges = nearest_edges(vertices, height, width).view(n, -1, 1).expand(-1, -1, 2)
        sign = torch.where(inside(vertices, height, width), 1.0, -1.0).to(vertices.dtype)
    start = vertices.gather(1, edges)
    end = vertices.roll(-1, 1).gather(1, edges)
    rows, columns = _centres(height, width, vertices)
    pixels = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], 2).view(1, -1, 2)
    along, off = end - start, pixels - start
    part = ((off * along).sum(2) / (along * along).sum(2).clamp_min(_SHORT)).clamp(0, 1)
    squared = (off - part[..., None] * along).square().sum(2).view(n, height, width)
    return torch.sigmoid(sign * squared / tau)


def nearest_edges(vertices: Tensor, height: int, width: int) -> Tensor:
    """Which edge is nearest each pixel's centre, int64 [n, height, width]; edge i joins vertices i and i + 1."""
    rows, columns = _centres(height, width, vertices)
    x, y = vertices[..., 0], vertices[..., 1]  # [n, k]
    ex, ey = x.roll(-1, 1) - x, y.roll(-1, 1) - y
    dx, dy = columns - x[..., None], rows - y[..., None]  # [n, k, width], [n, k, height]
    length = (ex * ex + ey * ey).clamp_min(_SHORT)[..., None, None]
    dot = (dx * ex[..., None])[:, :, None] + (dy * ey[..., None])[..., None]  # [n, k, height, width]
    part = (dot / length).clamp_(0, 1)
    distance = part.mul(length).sub_(dot.mul_(2)).mul_(part)  # |off - part along|^2 less |off|^2
    distance += (dx * dx)[:, :, None]
    distance += (dy * dy)[..., None]
    return distance.argmin(1)


def inside(vertices: Tensor, height: int, width: int) -> Tensor:
    """Whether the winding number of each pixel's centre is not 0: bool [n, height, width].

    An edge that crosses a pixel row's centre line upwards adds 1 to all pixels left of the crossing, one that goes
    down takes 1 away: the sum from the right is the winding number.
    """
    rows, _ = _centres(height, width, vertices)
    x, y = vertices[..., 0, None], vertices[..., 1, None]  # [n, k, 1]
    to_x, to_y = x.roll(-1, 1), y.roll(-1, 1)
    up, down = (y <= rows) & (to_y > rows), (to_y <= rows) & (y > rows)
    rise = torch.where(to_y == y, torch.ones_like(y), to_y - y)
    at = x + (rows - y) / rise * (to_x - x)  # [n, k, height]
    # pixels with centres i + .5 < at: the first `left` of them
    left = (at - 0.5).ceil().clamp(0, width).long()
    turns = (up.to(torch.int32) - down.to(torch.int32)).transpose(1, 2)  # [n, height, k]
    counts = turns.new_zeros(len(vertices), height, width + 1)
    counts.scatter_add_(2, left.transpose(1, 2), turns)
    # a crossing after pixel `left` - 1 counts for pixels 0 ... left - 1
    winding = counts.flip(2).cumsum(2).flip(2)[..., 1:]
    return winding != 0


def _centres(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5 for size in (height, width))
    return rows, columns
