"""RoIAlign (He et al. 2017, with pixel centres at one half): boxes of feature maps brought to one size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

__all__ = ["align"]


def align(features: Tensor, boxes: Tensor, of: Tensor, size: int) -> Tensor:
    """[n, c, size, size]: each cell the mean of points spread evenly in it, about one a pixel, read bilinearly.

    features  [m, c, h, w]; ``of`` int64 [n] says in which of them each box lies
    boxes     [n, 4], left, top, right, bottom in its pixels: (.5, .5) is the first one's centre

    A point more than half a pixel outside the map reads 0, one less outside reads the nearest pixel.
    """
    n, channels = len(boxes), features.shape[1]
    out = features.new_zeros(n, channels, size, size)
    sides = (boxes[:, 2:] - boxes[:, :2]).to(features.dtype)
    points = (sides / size).ceil().clamp(1, 64).long()
    groups, group_of = torch.unique(torch.cat([points, of[:, None].to(points.device)], 1), dim=0, return_inverse=True)
    for number, (across, down, picture) in enumerate(groups.tolist()):
        chosen = torch.nonzero(group_of == number)[:, 0]
        left, top = boxes[chosen, 0, None], boxes[chosen, 1, None]
        x = left + sides[chosen, 0, None] * _spread(size * across, features)
        y = top + sides[chosen, 1, None] * _spread(size * down, features)
        read = _read(features[picture], x - 0.5, y - 0.5)  # [c, boxes, rows, columns]
        cells = read.view(channels, len(chosen), size, down, size, across).mean((3, 5))
        out[chosen] = cells.transpose(0, 1)
    return out


def _spread(count: int, like: Tensor) -> Tensor:
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count


def _read(feature: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """[c, b, rows, columns] of a map [c, h, w] at columns x [b, columns] and rows y [b, rows], 0 at pixel centres."""
    _, height, width = feature.shape
    there = ((x > -1) & (x < width))[:, None] & ((y > -1) & (y < height))[..., None]
    at_x, at_y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    grid = torch.stack(
        [
            (2 * at_x / max(width - 1, 1) - 1)[:, None].expand(-1, y.shape[1], -1),
            (2 * at_y / max(height - 1, 1) - 1)[..., None].expand(-1, -1, x.shape[1]),
        ],
        3,
    )
    b, rows, columns, _ = grid.shape
    flat = grid.reshape(1, b * rows, columns, 2)
    read = grid_sample(feature[None], flat, "bilinear", "border", align_corners=True)
    return read.view(-1, b, rows, columns) * there
