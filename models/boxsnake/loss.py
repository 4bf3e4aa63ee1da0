"""BoxSnake's three losses (arXiv 2303.11630): a polygon from its box and the picture's colours, no mask seen.

L = L_u + .5 L_lp + .03 L_gp. ``unary`` draws the polygon's own box to the given one, ``pairwise`` makes alike colours
nearby lie on one side, ``region`` makes each side of one colour (Chan and Vese 2001). Each returns one value an
instance, [n]; a batch takes the mean.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import unfold

__all__ = ["WEIGHTS", "affinity", "pairwise", "region", "unary"]

WEIGHTS = (1.0, 0.5, 0.03)
"""Of L_u, L_lp and L_gp, as published for COCO."""

KERNEL, DILATION = 3, 2
_MIDDLE = KERNEL**2 // 2
_EPS = 1e-7


def unary(vertices: Tensor, boxes: Tensor) -> Tensor:
    """1 - CIoU of the polygons' own boxes with ``boxes`` (Zheng et al. 2020): [n] of [n, k, 2] and [n, 4].

    Boxes are left, top, right, bottom in the unit of the vertices.
    """
    low, high = vertices.amin(1), vertices.amax(1)
    (left, top), (right, bottom) = boxes[:, :2].unbind(1), boxes[:, 2:].unbind(1)
    wide, tall = (high - low).unbind(1)
    box_wide, box_tall = right - left, bottom - top
    over = torch.minimum(high, boxes[:, 2:]) - torch.maximum(low, boxes[:, :2])
    shared = over.clamp_min(0).prod(1)
    iou = shared / (wide * tall + box_wide * box_tall - shared + _EPS)
    hull = torch.maximum(high, boxes[:, 2:]) - torch.minimum(low, boxes[:, :2])
    apart = (low + high - boxes[:, :2] - boxes[:, 2:]).square().sum(1) / 4
    slant = 4 / math.pi**2 * (torch.atan(box_wide / (box_tall + _EPS)) - torch.atan(wide / (tall + _EPS))).square()
    with torch.no_grad():  # how much the aspect counts is no thing to be learned
        share = slant / (1 - iou + slant + _EPS)
    return 1 - iou + apart / (hull.square().sum(1) + _EPS) + share * slant


def affinity(lab: Tensor, within: Tensor, sigma: float = 2.0) -> Tensor:
    """How alike each pixel is to its eight neighbours two pixels away: exp(-|LAB_p - LAB_q| / sigma), [n, 8, h, w].

    lab     [n, 3, h, w]
    within  bool [n, h, w] or [h, w]: pixels p of the box; for others it is 0. Neighbours that there are not count 0 too
    """
    n, _, height, width = lab.shape
    near = _neighbours(lab)  # [n, 3, 8, h, w]
    weights = torch.exp(-(near - lab[:, :, None]).norm(dim=1) / sigma)
    there = _neighbours(lab.new_ones(1, 1, height, width))[0]
    return weights * there * within.expand(n, height, width)[:, None]


def pairwise(masks: Tensor, affinities: Tensor) -> Tensor:
    """The mean over pairs, by ``affinities``, of |U(p) - U(q)|: [n] of masks [n, h, w] and [n, 8, h, w]."""
    apart = (_neighbours(masks[:, None])[:, 0] - masks[:, None]).abs()
    return (affinities * apart).sum((1, 2, 3)) / affinities.sum((1, 2, 3)).clamp_min(_EPS)


def region(masks: Tensor, pixels: Tensor) -> Tensor:
    """How far colours lie from the mean of their side, [n] of masks [n, h, w] and pixels [n, c, h, w]: the mean over
    pixels and colours of |I - u_in|^2 U + |I - u_out|^2 (1 - U), u_in and u_out being means weighted by U and 1 - U."""
    total = torch.zeros_like(masks[:, 0, 0])
    for side in (masks, 1 - masks):
        weight = side[:, None]
        mean = (pixels * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(_EPS)
        total = total + ((pixels - mean).square() * weight).mean((1, 2, 3))
    return total


def _neighbours(x: Tensor) -> Tensor:
    """The eight neighbours, ``DILATION`` away, of each pixel: [n, c, 8, h, w] of [n, c, h, w], 0 past the edge."""
    n, c, height, width = x.shape
    around = unfold(x, KERNEL, DILATION, DILATION).view(n, c, KERNEL**2, height, width)
    return torch.cat([around[:, :, :_MIDDLE], around[:, :, _MIDDLE + 1 :]], 2)
