"""Pictures of regions: outlined in their scenes with their words, and in rows beside what was asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["close_up", "edge", "grid", "label", "lines", "outlined"]

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

RIGHT, WRONG = (0, 150, 60), (215, 40, 40)  # of words that are the thing's own name, and of others
_LARGER = 2  # a pixel of a scene is so many of its picture across
_CELL, _WORDS, _HEAD = 112, 16, 190  # pixels: a region's picture, the line under it, the place of a query


def edge(mask: Mask) -> Mask:
    """The pixels of a mask that have a neighbour outside of it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def outlined(image: Pixels, parts: Sequence[tuple[Mask, str, bool]]) -> Any:
    """A PIL image of a scene, larger; of each part (mask, words, whether they are right) the edge and the words."""
    made = importlib.import_module("PIL.Image").fromarray(_edged(image, [(mask, right) for mask, _, right in parts]))
    draw, font = _drawing(made), _font(12)
    for mask, words, right in parts:
        top, left = (int(np.flatnonzero(mask.any(axis)).min()) * _LARGER for axis in (1, 0))
        place = (min(left, made.width - 6 * len(words[:22])), max(0, top - 14))
        draw.text(place, words[:22], RIGHT if right else WRONG, font, stroke_width=2, stroke_fill="white")
    return made


def label(picture: Any, text: str) -> None:
    """Writes words into the upper left corner of a PIL image."""
    _drawing(picture).text((6, 4), text, "black", _font(15), stroke_width=3, stroke_fill="white")


def close_up(image: Pixels, mask: Mask, right: bool) -> Any:
    """A PIL image of a region and a little around it, its edge drawn."""
    made = importlib.import_module("PIL.Image").fromarray(_edged(image, [(mask, right)]))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    side = min(min(made.size), int(max(np.ptp(rows), np.ptp(columns)) + 16) * _LARGER)
    middles = (int(columns[0] + columns[-1]) * _LARGER // 2, int(rows[0] + rows[-1]) * _LARGER // 2)
    left, top = (min(max(0, at - side // 2), size - side) for at, size in zip(middles, made.size, strict=True))
    return made.crop((left, top, left + side, top + side)).resize((_CELL - 8, _CELL - 8))


def grid(pictures: Sequence[Any], across: int) -> Any:
    """Pictures of one size, so many in a row."""
    width, height = pictures[0].size
    made = _blank(across * (width + 8) + 8, -(-len(pictures) // across) * (height + 8) + 8)
    for place, picture in enumerate(pictures):
        made.paste(picture, (8 + place % across * (width + 8), 8 + place // across * (height + 8)))
    return made


def lines(rows: Sequence[tuple[Any, Sequence[tuple[Any, str]]]], across: int) -> Any:
    """A line for each of ``rows``: its head, a text or the pixels of a picture, and what was found: (picture, words)
    at most ``across`` times."""
    made = _blank(_HEAD + across * _CELL, len(rows) * (_CELL + _WORDS) + 8)
    draw = _drawing(made)
    for row, (head, cells) in enumerate(rows):
        top = 8 + row * (_CELL + _WORDS)
        if isinstance(head, str):
            draw.text((10, top + _CELL // 2 - 12), head[:22], "black", _font(15))
        else:
            shown = importlib.import_module("PIL.Image").fromarray(head)
            shown.thumbnail((_CELL - 32, _CELL - 32))
            made.paste(shown, (10, top + 8))
        for place, (picture, words) in enumerate(cells):
            left = _HEAD + place * _CELL
            made.paste(picture, (left, top))
            draw.text((left, top + _CELL - 6), words[:20], "dimgray", _font(10))
    return made


def _edged(image: Pixels, parts: Sequence[tuple[Mask, bool]]) -> Pixels:
    out = image.repeat(_LARGER, 0).repeat(_LARGER, 1)
    for mask, right in parts:
        out[edge(mask.repeat(_LARGER, 0).repeat(_LARGER, 1))] = RIGHT if right else WRONG
    return out


def _blank(width: int, height: int) -> Any:
    return importlib.import_module("PIL.Image").new("RGB", (width, height), "white")


def _drawing(made: Any) -> Any:
    return importlib.import_module("PIL.ImageDraw").Draw(made)


def _font(size: int) -> Any:
    return importlib.import_module("PIL.ImageFont").load_default(size)
