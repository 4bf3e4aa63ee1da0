"""A segmenter that needs no weights: what stands out from a ground whose colour changes slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models.caption_anything.port import Masks, Prompt
from bebr.models.caption_anything.regions import connected, smoothed, within_box

__all__ = ["Figures"]

_TURNS, _WIDE = 20, 8  # of the fit, and those of them that look further around
_SAMPLES = 48  # along the shorter side
_PULL = 0.01  # between neighbouring knots, so that those behind an object have colours too


class Figures:
    """Whole objects of any colours, before a ground whose colour changes slowly; objects that touch are one.

    tolerance   how far from the ground a colour must be, of 0 to 441 (RGB)
    brush       pixels across the square that smooths the masks; 1: none
    knots       the ground has so many colours along each side, blended in between
    least_area  pixels of the smallest mask where everything is asked for

    A point means all that hangs together with it: an object, or the ground. A point off the object takes those pixels
    of it that are nearer to that point than to any point on it. In a box, what stands out is meant; the whole box
    where nothing does.
    """

    def __init__(self, tolerance: float = 40, brush: int = 2, knots: int = 5, least_area: int = 64) -> None:
        if tolerance <= 0 or brush < 1 or knots < 2 or least_area < 1:
            got = (tolerance, brush, knots, least_area)
            raise ValueError(f"tolerance, brush, knots, least_area: got {got}, wanted > 0, >= 1, >= 2 and >= 1")
        self.tolerance, self.brush, self.knots, self.least_area = tolerance, brush, knots, least_area

    @property
    def name(self) -> str:
        return f"figures {self.tolerance:g} {self.brush} {self.knots} {self.least_area}"

    def __call__(self, picture: Any, prompt: Prompt) -> Masks:
        pixels = np.asarray(picture, np.float64)
        prompt.within(pixels.shape[1], pixels.shape[0])
        far = np.linalg.norm(pixels - _ground(pixels, self.knots, self.tolerance / 2), axis=2)
        figure = np.asarray(far > self.tolerance)
        if figure.any():
            figure = smoothed(figure, self.brush)
        return self._parts(figure) if prompt.everything else _asked(figure, prompt)[None]

    def _parts(self, figure: Masks) -> Masks:
        """What hangs together, each by itself, larger ones first."""
        rest, found = figure.copy(), []
        while rest.any():
            row, column = np.unravel_index(int(rest.argmax()), rest.shape)
            part = connected(rest, [(int(row), int(column))])
            rest &= ~part
            if part.sum() >= self.least_area:
                found.append(part)
        found.sort(key=lambda part: -int(part.sum()))
        return np.stack(found) if found else np.zeros((0, *figure.shape), np.bool_)


def _asked(figure: Masks, prompt: Prompt) -> Masks:
    """The mask of points, of a box or of both."""
    places = [(int(y), int(x)) for x, y in prompt.points]
    on = [place for place, label in zip(places, prompt.labels, strict=True) if label]
    off = [place for place, label in zip(places, prompt.labels, strict=True) if not label]
    box = np.ones_like(figure) if prompt.box is None else within_box(figure.shape, prompt.box)
    if not on:  # a box, and points off its object
        mask = figure & box
        mask &= ~connected(mask, off)
        return mask if mask.any() else box
    mask = np.zeros_like(figure)
    for place in on:
        mask |= connected(figure if figure[place] else ~figure, [place])
    within = [place for place in off if mask[place]]
    if within:
        mask &= _near(figure.shape, on) <= _near(figure.shape, within)
    mask &= box
    for place in on:  # the clicks themselves, whatever else is said
        mask[place] = True
    return mask


def _near(shape: tuple[int, ...], places: list[tuple[int, int]]) -> npt.NDArray[np.float64]:
    """Of each pixel the distance to the nearest of ``places``."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.min([np.hypot(rows - y, columns - x) for y, x in places], axis=0))


def _ground(pixels: npt.NDArray[np.float64], knots: int, scale: float) -> npt.NDArray[np.float64]:
    """The ground's colours [height, width, 3]: bilinear between ``knots`` x ``knots`` colours, fitted to the pixels by
    iteratively reweighted least squares with the weights of Geman and McClure, (1 + (error / scale)²)⁻²."""
    height, width = pixels.shape[:2]
    down, across = _blends(height, knots), _blends(width, knots)
    step = max(1, min(height, width) // _SAMPLES)
    seen = pixels[::step, ::step].reshape(-1, 3)
    blends = (down[::step, None, :, None] * across[None, ::step, None, :]).reshape(len(seen), -1)
    differences = np.diff(np.eye(knots), axis=0)
    bend = differences.T @ differences
    pull = np.kron(bend, np.eye(knots)) + np.kron(np.eye(knots), bend)
    pull *= _PULL * len(seen) / knots**2
    weights = np.ones(len(seen))
    for turn in range(_TURNS):
        weighted = blends.T * weights
        colours = np.linalg.solve(weighted @ blends + pull, weighted @ seen)
        error = np.linalg.norm(seen - blends @ colours, axis=1)
        # first as wide as half of the errors, or the fit would keep to whatever it met first
        wide = max(scale, float(np.median(error))) if turn < _WIDE else scale
        weights = (1 + (error / wide) ** 2) ** -2
    return np.einsum("yi,xj,ijc->yxc", down, across, colours.reshape(knots, knots, 3), optimize=True)


def _blends(pixels: int, knots: int) -> npt.NDArray[np.float64]:
    """[pixels, knots]: how much of each knot's colour a pixel has; rows sum to 1."""
    at = np.linspace(0, knots - 1, pixels)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(knots)))
