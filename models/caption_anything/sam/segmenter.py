"""SAM behind the port of segmenters: points, a box, both, or everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models.caption_anything.port import Masks, Prompt
from bebr.models.caption_anything.regions import box_of, within_box
from bebr.models.caption_anything.sam.decoder import BOX, NONE, OFF, ON
from bebr.models.caption_anything.sam.producer import Sam, Seen

__all__ = ["BySam", "apart", "stability"]

_OFFSET = 1.0  # of logits, by which a mask must not change much
_TOGETHER = 64  # points asked for at once


class BySam:
    """Masks by ``sam``. One point can mean several things: the mask that is held to be best is taken. More points or a
    box have one meaning; where a point lies off the object, the mask goes through the network again.

    grid       points in a row and in a column where everything is asked for
    quality    the least IoU that a mask of everything is expected to have
    stable     the least ``stability`` of one
    overlap    the most that boxes of two may overlap (IoU); the better mask stays
    """

    def __init__(
        self, sam: Sam, grid: int = 32, quality: float = 0.88, stable: float = 0.95, overlap: float = 0.7
    ) -> None:
        if grid < 1 or not 0 <= stable <= 1 or not 0 < overlap <= 1:
            got = (grid, stable, overlap)
            raise ValueError(f"grid, stable, overlap: got {got}, wanted at least 1, 0 to 1, and above 0 to 1")
        self.sam, self.grid, self.quality, self.stable, self.overlap = sam, grid, quality, stable, overlap

    @property
    def name(self) -> str:
        return f"sam {self.sam.version} {self.grid} {self.quality:g} {self.stable:g} {self.overlap:g}"

    def __call__(self, picture: Any, prompt: Prompt) -> Masks:
        prompt.within(picture.width, picture.height)
        seen = self.sam.see(picture)
        return self._everything(seen) if prompt.everything else self._asked(seen, prompt)[None]

    def _asked(self, seen: Seen, prompt: Prompt) -> Masks:
        points = [tuple(place) for place in prompt.points]
        labels = [ON if label else OFF for label in prompt.labels]
        if prompt.box is None:
            points, labels = [*points, (0, 0)], [*labels, NONE]
        else:
            points, labels = [*points, prompt.box[:2], prompt.box[2:]], [*labels, *BOX]
        logits, quality = self.sam.answer(seen, [points], [labels])
        several = len(prompt.points) == 1 and prompt.box is None
        best = 1 + int(quality[0, 1:].argmax()) if several else 0
        if OFF in labels:
            logits, _ = self.sam.answer(seen, [points], [labels], logits[:, best, None])
            best = 0
        mask: Masks = self.sam.enlarged(seen, logits[:, best])[0] > 0
        if not mask.any():  # a mask must not be empty: what was pointed at
            for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
                mask[int(y), int(x)] = label
            if not mask.any() and prompt.box is not None:
                mask = within_box(mask.shape, prompt.box)
        return mask

    def _everything(self, seen: Seen) -> Masks:
        height, width = seen.size
        middles = (np.arange(self.grid) + 0.5) / self.grid
        x, y = np.meshgrid(middles * width, middles * height)
        points = np.stack([x.ravel(), y.ravel()], 1)
        kept, boxes, scores = [], [], []  # small logits: large ones of all would not fit into memory
        for start in range(0, len(points), _TOGETHER):
            asked = points[start : start + _TOGETHER]
            places = np.stack([asked, np.zeros_like(asked)], 1)
            logits, quality = self.sam.answer(seen, places, np.tile([ON, NONE], (len(asked), 1)))
            for query, answer in np.argwhere(quality[:, 1:] >= self.quality).tolist():
                small = logits[query, 1 + answer, None]
                large = self.sam.enlarged(seen, small)
                if stability(large)[0] >= self.stable and (large > 0).any():
                    kept.append(small)
                    boxes.append(box_of(large[0] > 0))
                    scores.append(quality[query, 1 + answer])
        if not kept:
            return np.zeros((0, height, width), np.bool_)
        chosen = apart(np.array(boxes), np.array(scores), self.overlap)
        masks = np.stack([self.sam.enlarged(seen, kept[i])[0] > 0 for i in chosen])
        return masks[np.argsort(-masks.sum((1, 2)), kind="stable")]


def stability(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Of logits [n, height, width] the IoU of the masks above 1 and above -1: near 1 where an edge is sharp; 0 where
    neither is anything."""
    inner, outer = ((logits > offset).sum((1, 2)) for offset in (_OFFSET, -_OFFSET))
    return np.asarray(inner / np.maximum(outer, 1))


def apart(boxes: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], overlap: float) -> npt.NDArray[np.int64]:
    """Which of ``boxes`` [n, 4] stay, best first: those of which no better one that stays covers more than ``overlap``
    (IoU)."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        first, order = int(order[0]), order[1:]
        kept.append(first)
        low, high = np.maximum(boxes[first, :2], boxes[order, :2]), np.minimum(boxes[first, 2:], boxes[order, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        order = order[shared <= overlap * (areas[first] + areas[order] - shared)]
    return np.array(kept, np.int64)
