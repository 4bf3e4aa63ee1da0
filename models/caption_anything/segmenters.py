"""Segmenters that need no weights: by colour, and by colour with BoxSnake's outlines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models.caption_anything.port import Masks, Prompt
from bebr.models.caption_anything.regions import box_of, connected, smoothed, within_box

__all__ = ["Flood", "Outlined"]

_Colours = npt.NDArray[np.float32]


class Flood:
    """By colour alone: what hangs together with a click and is of its colour.

    tolerance   how far apart colours may be, of 0 to 441 (RGB)
    brush       pixels across the square that smooths a mask; 1: none
    grid        clicks in a row and in a column where everything is asked for
    least_area  pixels of the smallest mask then kept; the largest covers half the picture

    A point off the object takes away the colours nearer to it than to any point on it. A box's object is what is of no
    colour found along its sides, as far as that reaches inwards.
    """

    def __init__(self, tolerance: float = 40, brush: int = 3, grid: int = 12, least_area: int = 64) -> None:
        if tolerance <= 0 or brush < 1 or grid < 1 or least_area < 1:
            got = (tolerance, brush, grid, least_area)
            raise ValueError(f"tolerance, brush, grid, least_area: got {got}, wanted above 0 and at least 1 each")
        self.tolerance, self.brush, self.grid, self.least_area = tolerance, brush, grid, least_area

    @property
    def name(self) -> str:
        return f"flood {self.tolerance:g} {self.brush} {self.grid} {self.least_area}"

    def __call__(self, picture: Any, prompt: Prompt) -> Masks:
        pixels = np.asarray(picture, np.float32)
        height, width = pixels.shape[:2]
        prompt.within(width, height)
        if prompt.everything:
            return self._everything(pixels)
        return (self._clicked(pixels, prompt) if prompt.points else self._boxed(pixels, prompt.box))[None]

    def _clicked(self, pixels: _Colours, prompt: Prompt) -> Masks:
        places = [(int(y), int(x)) for x, y in prompt.points]
        on = [place for place, label in zip(places, prompt.labels, strict=True) if label]
        off = [place for place, label in zip(places, prompt.labels, strict=True) if not label]
        if not on:  # a box, and points off its object
            mask = self._boxed(pixels, prompt.box)
            for place in off:
                mask = mask & (_far(pixels, [pixels[place]]) > self.tolerance)
            return mask if mask.any() else self._boxed(pixels, prompt.box)
        near = _far(pixels, [pixels[place] for place in on])
        allowed = near <= self.tolerance
        if off:
            allowed &= near < _far(pixels, [pixels[place] for place in off])
        if prompt.box is not None:
            allowed &= within_box(pixels.shape, prompt.box)
        for place in on:  # the clicks themselves, whatever else is said
            allowed[place] = True
        return smoothed(connected(allowed, on), self.brush)

    def _boxed(self, pixels: _Colours, box: tuple[float, float, float, float] | None) -> Masks:
        assert box is not None
        within = within_box(pixels.shape, box)
        left, top, right, bottom = box_of(within)
        rows, columns = np.mgrid[top:bottom, left:right]
        sides = (rows == top) | (rows == bottom - 1) | (columns == left) | (columns == right - 1)
        ring = np.stack([rows[sides], columns[sides]], 1)
        # corners are the surest ground: an object that fills its box touches the middle of each side
        corners = [
            pixels[place] for place in ((top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1))
        ]
        ground = (_far(pixels, corners) <= self.tolerance) & within
        mask = within & ~connected(ground, [(int(y), int(x)) for y, x in ring])
        return smoothed(mask, self.brush) if mask.any() else within

    def _everything(self, pixels: _Colours) -> Masks:
        height, width = pixels.shape[:2]
        found: list[Masks] = []
        taken = np.zeros((height, width), np.bool_)
        for y in ((np.arange(self.grid) + 0.5) * height / self.grid).astype(int):
            for x in ((np.arange(self.grid) + 0.5) * width / self.grid).astype(int):
                if taken[y, x]:
                    continue
                mask = self._clicked(pixels, Prompt([(int(x), int(y))]))
                taken |= mask
                if self.least_area <= mask.sum() <= height * width / 2:
                    found.append(mask)
        found.sort(key=lambda mask: -int(mask.sum()))
        kept: list[Masks] = []
        for mask in found:
            if all((mask & one).sum() <= 0.7 * (mask | one).sum() for one in kept):
                kept.append(mask)
        return np.stack(kept) if kept else np.zeros((0, height, width), np.bool_)


class Outlined:
    """Another segmenter's masks, redrawn: each one's box gets an outline by BoxSnake's losses, without its network.

    For objects of several colours, of which a flood finds one part: a box as prompt is best. ``steps`` of descent.
    """

    def __init__(self, first: Flood, steps: int = 150) -> None:
        self.first, self.steps = first, steps

    @property
    def name(self) -> str:
        return f"outlined {self.steps} {self.first.name}"

    def __call__(self, picture: Any, prompt: Prompt) -> Masks:
        import torch

        from bebr.models.boxsnake.direct import outlines
        from bebr.models.boxsnake.raster import inside

        prompt.within(picture.width, picture.height)
        if prompt.box is not None:
            masks, boxes = None, [prompt.box]
        else:
            masks = self.first(picture, prompt)
            boxes = [box_of(mask) for mask in masks]
        if not boxes:
            return np.zeros((0, picture.height, picture.width), np.bool_)
        pixels = torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)[None] / 255
        of = torch.zeros(len(boxes), dtype=torch.long)
        found = outlines(pixels, torch.tensor(boxes, dtype=torch.float32), of, vertices=32, side=32, steps=self.steps)
        drawn: Masks = inside(found, picture.height, picture.width).numpy()
        for number, mask in enumerate(drawn):
            if not mask.any():
                left, top, right, bottom = boxes[number]
                mask |= within_box(mask.shape, (left, top, right, bottom)) if masks is None else masks[number]
        return drawn


def _far(pixels: _Colours, colours: list[Any]) -> npt.NDArray[np.float32]:
    """The distance of each pixel's colour from the nearest of ``colours``."""
    return np.min([np.linalg.norm(pixels - colour, axis=2) for colour in colours], axis=0)
