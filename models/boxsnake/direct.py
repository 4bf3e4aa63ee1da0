"""The direct form: one polygon an instance, found by descent on the losses alone. No network, nothing is learned.

Ours: the method trains a network by these losses. With tau = .1 and the distance squared, only pixels within a pixel of
the outline have a gradient, so tau falls from 1 to .1 on the way; the vertices move freely instead of by a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bebr.models.boxsnake.colour import Views, views
from bebr.models.boxsnake.loss import WEIGHTS, pairwise, region, unary
from bebr.models.boxsnake.polygons import ellipse
from bebr.models.boxsnake.raster import soft

__all__ = ["losses", "outlines"]


def losses(vertices: Tensor, seen: Views, weights: Sequence[float] = WEIGHTS, tau: float = 0.1) -> Tensor:
    """The weighted sum of the three, one value an instance: [n] of vertices [n, k, 2] in units of the boxes.

    The mask is drawn on the box alone and 0 around it, as published. A loss of weight 0 is not computed.
    """
    total = vertices.new_zeros(len(vertices))
    a, b, c = weights
    if a:
        # in pixels: how far off a box is depends on its proportions
        boxes = torch.cat([torch.zeros_like(seen.extents), seen.extents], 1)
        total = total + a * unary(vertices * seen.extents[:, None], boxes)
    if b or c:
        masks = soft(vertices * seen.side, seen.side, seen.side, tau)
        masks = torch.nn.functional.pad(masks, (seen.padding,) * 4)
        if b:
            total = total + b * pairwise(masks, seen.affinities)
        if c:
            total = total + c * region(masks, seen.pixels)
    return total


def outlines(
    pictures: Tensor,
    boxes: Tensor,
    of: Tensor,
    weights: Sequence[float] = WEIGHTS,
    *,
    vertices: int = 64,
    side: int = 64,
    steps: int = 300,
    learning_rate: float = 0.01,
    taus: tuple[float, float] = (1.0, 0.1),
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Polygons [n, vertices, 2] in the pictures' pixels for ``boxes`` [n, 4] of ``pictures`` [m, 3, h, w] (0 to 1).

    of             int64 [n], the picture of each box
    weights        of L_u, L_lp and L_gp; L_lp's rises from 0 in the first ninth of the steps, as published
    side           pixels across the grid that a box is brought to
    learning_rate  Adam's, in units of the box; it falls to a tenth
    taus           tau of the first step and of the last; it falls geometrically

    Raises ValueError for weights that are not three numbers of at least 0, and ``steps < 1``.
    """
    if len(weights) != 3 or min(weights) < 0:
        raise ValueError(f"weights: got {tuple(weights)}, wanted three numbers of at least 0")
    if steps < 1:
        raise ValueError(f"steps: got {steps}, wanted at least 1")
    seen = views(pictures, boxes, of, side, max(1, side // 16))
    unit = boxes.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(len(boxes), 4)
    found = ellipse(unit, vertices).clone().requires_grad_()
    optimizer = torch.optim.Adam([found], learning_rate)
    for step in range(steps):
        done = step / max(1, steps - 1)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * 0.1**done
        tau = taus[0] * (taus[1] / taus[0]) ** done
        local = weights[1] * min(1.0, (step + 1) * 9 / steps)
        optimizer.zero_grad(set_to_none=True)
        losses(found, seen, (weights[0], local, weights[2]), tau).sum().backward()  # a polygon knows of no other
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
    out = found.detach()
    return boxes[:, None, :2] + out * (boxes[:, 2:] - boxes[:, :2])[:, None]
