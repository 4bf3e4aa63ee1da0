"""From a pyramid to boxes: anchors and what moves them, suppression of doubles, and the head that names classes.

Mask R-CNN's two stages (Ren et al. 2015; He et al. 2017) with detectron2's settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bebr.models.boxsnake.align import align
from bebr.models.boxsnake.config import LEVELS, RATIOS, STRIDE, Config

__all__ = ["BoxHead", "Found", "Proposer", "anchors", "deltas", "iou", "kept", "moved"]

KEPT = 1000
"""Proposals of a level, and of a picture."""

_POOLED = 7
_MOST = math.log(1000 / 16)  # a box grows by no more at once


@dataclass(frozen=True)
class Found:
    """Of one picture, best first: ``boxes`` [n, 4], ``scores`` [n] in 0 to 1, ``classes`` int64 [n] (-1: no names)."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def anchors(shapes: Sequence[tuple[int, int]], base: int, like: Tensor) -> list[Tensor]:
    """For each map of (rows, columns) cells its anchors [rows x columns x 3, 4]: squares of ``base`` pixels on the
    first map, twice that on each further one, and boxes of their area half and twice as high as wide."""
    out = []
    for level, (rows, columns) in enumerate(shapes):
        stride, side = STRIDE * 2**level, base * 2**level
        wide = [side / math.sqrt(ratio) for ratio in (0.5, 1.0, 2.0)]
        half = like.new_tensor([[-w, -side * side / w, w, side * side / w] for w in wide]) / 2
        y, x = torch.meshgrid(*(torch.arange(n, device=like.device) * stride for n in (rows, columns)), indexing="ij")
        at = torch.stack([x, y, x, y], 2).to(like.dtype).view(-1, 1, 4)
        out.append((at + half).view(-1, 4))
    return out


def moved(boxes: Tensor, by: Tensor, weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Boxes [n, 4] whose middle is moved by parts of their sides, and whose sides grow by exp: [n, 4] of ``by``."""
    size = boxes[:, 2:] - boxes[:, :2]
    by = by / by.new_tensor(weights)
    middle = boxes[:, :2] + size / 2 + by[:, :2] * size
    size = size * by[:, 2:].clamp_max(_MOST).exp()
    return torch.cat([middle - size / 2, middle + size / 2], 1)


def deltas(boxes: Tensor, to: Tensor) -> Tensor:
    """The inverse of :func:`moved`: what brings ``boxes`` to ``to``, [n, 4]."""
    size, wanted = boxes[:, 2:] - boxes[:, :2], to[:, 2:] - to[:, :2]
    middle = (to[:, :2] + wanted / 2 - boxes[:, :2] - size / 2) / size
    return torch.cat([middle, (wanted / size).log()], 1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes, [n, m] of [n, 4] and [m, 4]."""
    over = torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])
    shared = over.clamp_min(0).prod(2)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared).clamp_min(1e-9)


def kept(boxes: Tensor, scores: Tensor, most_alike: float) -> Tensor:
    """Rows of boxes that overlap no better one by more than ``most_alike``, best first: int64."""
    order = scores.argsort(descending=True, stable=True)
    alike = (iou(boxes[order], boxes[order]) > most_alike).cpu().numpy()
    alive = torch.ones(len(order), dtype=torch.bool).numpy()
    out = []
    for i in range(len(order)):
        if alive[i]:
            out.append(i)
            alive &= ~alike[i]
    return order[torch.tensor(out, dtype=torch.long, device=order.device)]


def clipped(boxes: Tensor, height: float, width: float) -> Tensor:
    """Boxes cut off at the picture's sides."""
    return torch.minimum(boxes.clamp_min(0), boxes.new_tensor([width, height, width, height]))


class Proposer(nn.Module):
    """Anchors of each map: which hold an object, and where it is."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.fpn
        self.base = config.anchor
        self.rpn_head = nn.ModuleDict(
            {
                "conv": nn.Conv2d(d, d, 3, padding=1),
                "objectness_logits": nn.Conv2d(d, RATIOS, 1),
                "anchor_deltas": nn.Conv2d(d, 4 * RATIOS, 1),
            }
        )

    def forward(self, maps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of each map: anchors [a, 4], their logits [n, a] and deltas [n, a, 4]."""
        found = anchors([tuple(one.shape[2:]) for one in maps], self.base, maps[0])
        out = []
        for one, at in zip(maps, found, strict=True):
            inner = relu(self.rpn_head["conv"](one))
            logits = self.rpn_head["objectness_logits"](inner).permute(0, 2, 3, 1).flatten(1)
            by = self.rpn_head["anchor_deltas"](inner).unflatten(1, (RATIOS, 4)).permute(0, 3, 4, 1, 2)
            out.append((at, logits, by.flatten(1, 3)))
        return out

    def propose(self, maps: Sequence[Tensor], row: int, height: int, width: int) -> Found:
        """The best boxes of picture ``row``, which has so many pixels before it was filled up."""
        boxes, scores = [], []
        for at, logits, by in self(maps):
            best = logits[row].topk(min(KEPT, len(at)))
            ours = clipped(moved(at[best.indices], by[row, best.indices]), height, width)
            there = (ours[:, 2:] - ours[:, :2] > 0).all(1)
            ours, values = ours[there], best.values[there]
            rows = kept(ours, values, 0.7)
            boxes.append(ours[rows])
            scores.append(values[rows])
        joined, values = torch.cat(boxes), torch.cat(scores)
        order = values.argsort(descending=True, stable=True)[:KEPT]
        none = torch.full_like(order, -1)
        return Found(joined[order], values[order].sigmoid(), none)


class BoxHead(nn.Module):
    """Proposals to named boxes: [n, classes + 1] logits, the last of no object, and deltas [n, classes, 4]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        hidden, classes = config.hidden, config.classes
        self.box_head = nn.ModuleDict(
            {"fc1": nn.Linear(_POOLED**2 * config.fpn, hidden), "fc2": nn.Linear(hidden, hidden)}
        )
        self.box_predictor = nn.ModuleDict(
            {"cls_score": nn.Linear(hidden, classes + 1), "bbox_pred": nn.Linear(hidden, 4 * classes)}
        )

    def forward(self, maps: Sequence[Tensor], boxes: Tensor, row: int) -> tuple[Tensor, Tensor]:
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
        level = (4 + (sides / 224 + 1e-8).log2()).floor().clamp(2, 1 + LEVELS).long() - 2
        pooled = maps[0].new_zeros(len(boxes), maps[0].shape[1], _POOLED, _POOLED)
        for number in range(LEVELS):
            chosen = torch.nonzero(level == number)[:, 0]
            scaled = boxes[chosen] / (STRIDE * 2**number)
            pooled[chosen] = align(maps[number], scaled, torch.full_like(chosen, row), _POOLED)
        x = relu(self.box_head["fc2"](relu(self.box_head["fc1"](pooled.flatten(1)))))
        return self.box_predictor["cls_score"](x), self.box_predictor["bbox_pred"](x).unflatten(1, (-1, 4))

    def name(self, maps: Sequence[Tensor], proposed: Tensor, row: int, size: tuple[int, int], least: float) -> Found:
        """Boxes of one class each with a score above ``least``; a box that overlaps a better one of its class by more
        than half goes."""
        logits, by = self(maps, proposed, row)
        scores = logits.softmax(1)[:, :-1]
        at, classes = (scores > least).nonzero(as_tuple=True)
        boxes = clipped(moved(proposed[at], by[at, classes], (10.0, 10.0, 5.0, 5.0)), *size)
        scores = scores[at, classes]
        rows = [at[:0]]
        for number in classes.unique().tolist():
            chosen = torch.nonzero(classes == number)[:, 0]
            rows.append(chosen[kept(boxes[chosen], scores[chosen], 0.5)])
        joined = torch.cat(rows)
        joined = joined[scores[joined].argsort(descending=True, stable=True)]
        return Found(boxes[joined], scores[joined], classes[joined])
