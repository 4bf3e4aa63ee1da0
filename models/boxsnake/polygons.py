"""What is done with polygons: the ellipse they start as, the vector of a shape, the cells of a map that they cover."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bebr.models.boxsnake.raster import inside

__all__ = ["SHAPE", "coverage", "ellipse", "resampled", "shape_vectors"]

SHAPE = 64
"""Dimensions of a shape vector."""

_FINE = 4  # rows and columns of points a cell: coverage is told to a sixteenth


def ellipse(boxes: Tensor, vertices: int) -> Tensor:
    """[n, vertices, 2]: the ellipse in each box [n, 4] (left, top, right, bottom), radii .49 of its sides."""
    turn = 2 * math.pi * torch.arange(vertices, dtype=boxes.dtype, device=boxes.device) / vertices
    circle = 0.5 + 0.49 * torch.stack([turn.cos(), turn.sin()], 1)
    return boxes[:, None, :2] + circle * (boxes[:, 2:] - boxes[:, :2])[:, None]


def resampled(polygons: Tensor, count: int) -> Tensor:
    """[n, count, 2]: points at equal distances along the outlines [n, k, 2], the first vertex first."""
    closed = torch.cat([polygons, polygons[:, :1]], 1)
    steps = closed.diff(dim=1).norm(dim=2)
    ends = torch.cat([steps.new_zeros(len(steps), 1), steps.cumsum(1)], 1)
    wanted = ends[:, -1:] * torch.arange(count, dtype=steps.dtype, device=steps.device) / count
    edge = (torch.searchsorted(ends, wanted.contiguous(), right=True) - 1).clamp(0, steps.shape[1] - 1)
    part = (wanted - ends.gather(1, edge)) / steps.gather(1, edge).clamp_min(1e-12)
    start, end = (closed.gather(1, (edge + i)[..., None].expand(-1, -1, 2)) for i in range(2))
    return start + part.clamp(0, 1)[..., None] * (end - start)


def shape_vectors(polygons: Tensor) -> Tensor:
    """[n, 64] of unit length, of outlines [n, k, 2]: the same wherever one starts, and however the shape is shifted,
    turned and scaled.

    64 points at equal distances as complex numbers, less their mean, divided by their size: the absolute values of the
    63 Fourier coefficients that are left, and a 0. The outline runs clockwise first: mirrored shapes differ.
    """
    if not len(polygons):  # a transform of nothing is an error
        return polygons.new_zeros(0, SHAPE)
    points = resampled(polygons.double(), SHAPE)
    x, y = points.unbind(2)
    area = (x * y.roll(-1, 1) - x.roll(-1, 1) * y).sum(1)
    points = torch.where((area < 0)[:, None, None], points.flip(1), points)
    contour = torch.view_as_complex(points.contiguous())
    found = torch.fft.fft(contour - contour.mean(1, keepdim=True), dim=1)[:, 1:].abs()
    found = found / found.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return torch.nn.functional.pad(found, (0, 1)).to(polygons.dtype)


def coverage(polygon: Tensor, height: int, width: int) -> Tensor:
    """How much of each cell of a map lies inside, 0 to 1: [height, width] of a polygon [k, 2] in cells.

    Where no point of any cell does, the cell at the polygon's middle counts as covered: a mean is always of something.
    """
    low = polygon.amin(0).floor().long().tolist()
    high = polygon.amax(0).ceil().long().tolist()
    (left, top), (right, bottom) = low, high
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    right, bottom = min(max(right, left + 1), width), min(max(bottom, top + 1), height)
    moved = (polygon - polygon.new_tensor([left, top])) * _FINE
    rows, columns = bottom - top, right - left
    fine = inside(moved[None], rows * _FINE, columns * _FINE)[0].to(polygon.dtype)
    out = polygon.new_zeros(height, width)
    out[top:bottom, left:right] = fine.view(rows, _FINE, columns, _FINE).mean((1, 3))
    if not out.any():
        x, y = polygon.mean(0).floor().long().tolist()
        out[min(max(y, 0), height - 1), min(max(x, 0), width - 1)] = 1
    return out
