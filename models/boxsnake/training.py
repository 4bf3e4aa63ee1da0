"""A training loop for small networks of BoxSnake, on pictures with boxes; one process.

Proposals and polygons are trained together. AdamW with weight decay .1 on matrices, L_lp rising in the first ninth of
the steps, deep supervision: as published. Ours: the polygon head gets true boxes, shifted a little, where the release
samples proposals; tau falls from 1 to .1; rate, steps and sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from bebr.models.boxsnake.colour import views
from bebr.models.boxsnake.data import Boxed
from bebr.models.boxsnake.detector import deltas, iou
from bebr.models.boxsnake.direct import losses
from bebr.models.boxsnake.loss import WEIGHTS
from bebr.models.boxsnake.producer import BoxSnake, prepared
from bebr.models.training import Descent, batches, clock_of, parameter_groups, rate, training

__all__ = ["Log", "fit"]

_SHIFT = 0.1  # of a box's sides: how far off detected ones may be


@dataclass
class Log:
    """Of every step the loss of proposals and that of polygons."""

    proposals: list[float] = field(default_factory=list)
    polygons: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """CPU seconds on the CPU, elapsed ones elsewhere."""


def fit(
    producer: BoxSnake,
    data: Boxed,
    weights: Sequence[float] = WEIGHTS,
    steps: int = 1000,
    batch_size: int = 8,
    learning_rate: float = 1e-3,
    side: int = 32,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Log:
    """Train the producer's network in place. ``weights`` of L_u, L_lp and L_gp; ``side``: pixels of the grid on which
    a box's polygon is drawn.

    Raises ValueError for a network that names classes (its box head is not trained here) and settings out of range.
    """
    config = producer.network.config
    if config.classes:
        raise ValueError(f"producer: tells {config.classes} classes apart: only networks without a box head train here")
    if not 1 <= batch_size <= len(data) or steps < 1:
        raise ValueError(f"batch_size, steps: got {batch_size}, {steps}, wanted 1 to {len(data)}, and at least 1")
    if len(weights) != 3 or min(weights) < 0:
        raise ValueError(f"weights: got {tuple(weights)}, wanted three numbers of at least 0")
    from PIL import Image

    random = np.random.default_rng(seed)
    rows = batches(len(data), batch_size, random)
    descend = Descent(torch.optim.AdamW(parameter_groups(producer.network, 0.1), learning_rate), clip=5.0)
    log = Log()
    clock = clock_of(producer.device)
    start = clock()
    with training(producer, seed):
        for step in range(steps):
            chosen = next(rows)
            found = [prepared(Image.fromarray(data.pictures[row]), config.image_size, config.longest) for row in chosen]
            scale = found[0][1][1] / data.pictures.shape[2]
            pixels = torch.cat([one for one, _ in found]).to(producer.device)
            colours = torch.from_numpy(data.pictures[chosen]).to(producer.device).permute(0, 3, 1, 2).float() / 255
            boxes = [torch.tensor(data.boxes[row], dtype=torch.float32, device=producer.device) for row in chosen]
            maps = producer.network.maps(pixels)
            proposals = _proposals(producer, maps, [one * scale for one in boxes], random)
            done = step / max(1, steps - 1)
            now = (weights[0], weights[1] * min(1.0, (step + 1) * 9 / steps), weights[2])
            polygons = _polygons(producer, maps, colours, boxes, scale, now, side, 0.1**done, random)
            descend(proposals + polygons, rate(step, steps, 0.05))
            log.proposals.append(float(proposals.detach()))
            log.polygons.append(float(polygons.detach()))
            if progress is not None:
                progress(step + 1, steps)
    log.seconds = clock() - start
    return log


def _polygons(
    producer: BoxSnake,
    maps: list[Tensor],
    colours: Tensor,
    boxes: list[Tensor],
    scale: float,
    weights: Sequence[float],
    side: int,
    tau: float,
    random: np.random.Generator,
) -> Tensor:
    """The mean over objects and decoder layers."""
    joined = torch.cat(boxes)
    if not len(joined):
        return maps[0].new_zeros(())
    of = torch.repeat_interleave(torch.tensor([len(one) for one in boxes])).to(joined.device)
    size = (joined[:, 2:] - joined[:, :2]).repeat(1, 2)
    shifts = torch.from_numpy(random.uniform(-_SHIFT, _SHIFT, tuple(joined.shape))).to(joined)
    seen = views(colours, joined, of, side, max(1, side // 16))
    outlines = producer.network.outlines(maps, (joined + shifts * size) * scale, of)
    units = [(one / scale - joined[:, None, :2]) / size[:, None, :2] for one in outlines]
    return torch.stack([losses(one, seen, weights, tau).mean() for one in units]).mean()


def _proposals(producer: BoxSnake, maps: list[Tensor], boxes: list[Tensor], random: np.random.Generator) -> Tensor:
    """Whether an anchor holds an object, and how far it is off: of up to 32 that do and 3 times as many that do not.

    One does that overlaps an object by 70 %, or is its best; one does not that overlaps none by 30 %.
    """
    found = producer.network.proposal_generator(maps)
    at = torch.cat([one for one, _, _ in found])
    logits, by = torch.cat([one for _, one, _ in found], 1), torch.cat([one for _, _, one in found], 1)
    total = logits.new_zeros(())
    for row, wanted in enumerate(boxes):
        alike = iou(at, wanted) if len(wanted) else at.new_zeros(len(at), 1)
        best, which = alike.max(1)
        holds = best >= 0.7
        if len(wanted):
            holds |= (alike >= alike.amax(0) - 1e-6).any(1)
        yes = _some(holds, 32, random)
        no = _some((best < 0.3) & ~holds, 3 * max(1, len(yes)), random)
        asked = torch.cat([yes, no])
        truth = (torch.arange(len(asked), device=asked.device) < len(yes)).to(logits.dtype)
        total = total + binary_cross_entropy_with_logits(logits[row, asked], truth)
        if len(yes):
            total = total + l1_loss(by[row, yes], deltas(at[yes], wanted[which[yes]]))
    return total / len(boxes)


def _some(which: Tensor, most: int, random: np.random.Generator) -> Tensor:
    rows = torch.nonzero(which)[:, 0]
    order = torch.from_numpy(random.permutation(len(rows))[:most]).to(rows.device)
    return rows[order]
