"""What the losses see of a picture: an instance's surroundings, cut out, as CIELAB and brought to mean 0."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bebr.models.boxsnake.align import align
from bebr.models.boxsnake.loss import affinity
from bebr.models.pixels import by_channel

__all__ = ["Views", "lab", "views"]

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# sRGB (IEC 61966-2-1) to XYZ under D65, each row divided by the white point's value
_XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)


def lab(rgb: Tensor) -> Tensor:
    """CIELAB [n, 3, h, w] (L 0 to 100) of sRGB values 0 to 1, [n, 3, h, w]."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.einsum("ij,njhw->nihw", torch.tensor(_XYZ, dtype=rgb.dtype, device=rgb.device), linear)
    bent = torch.where(xyz > 0.008856, xyz.clamp_min(1e-9) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = bent.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@dataclass(frozen=True)
class Views:
    """Of n instances, each on a grid of ``side`` pixels a box with ``padding`` more on every side.

    ``pixels`` [n, 3, side + 2 padding, ...] normalised; ``affinities`` [n, 8, side + 2 padding, ...]; ``extents``
    [n, 2], the boxes' widths and heights.
    """

    pixels: Tensor
    affinities: Tensor
    extents: Tensor
    side: int
    padding: int


def views(pictures: Tensor, boxes: Tensor, of: Tensor, side: int = 64, padding: int = 4, sigma: float = 2.0) -> Views:
    """``pictures`` [m, 3, h, w] of values 0 to 1, ``boxes`` [n, 4] in their pixels, ``of`` int64 [n]: the picture of
    each box. The box is enlarged by ``padding`` / ``side`` of itself and brought to a square. No gradient."""
    with torch.no_grad():
        extents = boxes[:, 2:] - boxes[:, :2]
        margin = extents * (padding / side)
        wide = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)
        cut = align(pictures, wide, of, side + 2 * padding)
        within = torch.zeros(cut.shape[2:], dtype=torch.bool, device=cut.device)
        within[padding : padding + side, padding : padding + side] = True
        return Views(by_channel(cut, _MEAN, _DEVIATION), affinity(lab(cut), within, sigma), extents, side, padding)
