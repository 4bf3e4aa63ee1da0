"""Masks and what is cut out by them: boxes, crops, run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.models.caption_anything.port import Masks

__all__ = ["Rle", "box_of", "connected", "crop", "packed", "smoothed", "unpacked", "within_box"]

Rle = dict[str, list[int]]

BACKGROUND = ("white", "kept")


def box_of(mask: Masks) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask [height, width], right and bottom one past the end. ValueError if empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ValueError("mask: is empty, wanted at least one pixel")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def within_box(shape: tuple[int, ...], box: tuple[float, float, float, float]) -> Masks:
    """The pixels whose middles lie in the box; the one nearest its middle where none does."""
    height, width = shape[:2]
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    mask: Masks = ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))
    if not mask.any():
        row, column = np.abs(y - (box[1] + box[3]) / 2).argmin(), np.abs(x - (box[0] + box[2]) / 2).argmin()
        mask[row, column] = True
    return mask


def connected(allowed: Masks, seeds: list[tuple[int, int]]) -> Masks:
    """The allowed pixels that hang together, side by side, with a seed (row, column) that is allowed."""
    height, width = allowed.shape
    free = np.zeros((height + 2, width + 2), np.bool_)
    free[1:-1, 1:-1] = allowed
    flat, out = free.reshape(-1), np.zeros((height + 2) * (width + 2), np.bool_)
    steps = np.array([1, -1, width + 2, -width - 2])
    front = np.unique(np.array([(row + 1) * (width + 2) + column + 1 for row, column in seeds], np.int64))
    front = front[flat[front]]
    while len(front):
        flat[front], out[front] = False, True
        near = np.unique(front[:, None] + steps)
        front = near[flat[near]]
    return out.reshape(height + 2, width + 2)[1:-1, 1:-1].copy()


def crop(picture: Any, mask: Masks, background: str = "white") -> tuple[Any, Masks]:
    """The mask's box of an RGB PIL image, and of the mask. ``background``: all but the object is painted ``"white"``
    (the released code's ``wo_bg``), or ``"kept"`` (``w_bg``). ValueError for another word or an empty mask."""
    if background not in BACKGROUND:
        raise ValueError(f"background: got {background!r}, wanted {' or '.join(BACKGROUND)}")
    left, top, right, bottom = box_of(mask)
    cut, inside = np.array(picture)[top:bottom, left:right], mask[top:bottom, left:right]
    if background == "white":
        cut = np.where(inside[..., None], cut, np.uint8(255))
    from PIL import Image

    return Image.fromarray(cut), inside


def smoothed(mask: Masks, side: int = 6) -> Masks:
    """Specks and holes narrower than ``side`` pixels gone: opened, then closed, by a square. The mask as it was where
    nothing would be left. Ours: the released code does it to every mask; a square of one pixel changes nothing."""
    opened = _grown(~_grown(~mask, side), side, back=True)
    closed = ~_grown(~_grown(opened, side), side, back=True)
    return closed if closed.any() else mask


def _grown(mask: Masks, side: int, back: bool = False) -> Masks:
    """Each pixel set where a square of ``side`` at it holds one that is set; ``back``: the square turned about."""
    before, after = (side - 1) // 2, side // 2
    if back:
        before, after = after, before
    out = mask
    for axis in (0, 1):
        wide = [(before, after) if one == axis else (0, 0) for one in (0, 1)]
        padded = np.pad(out, wide)
        out = np.asarray(np.lib.stride_tricks.sliding_window_view(padded, side, axis).any(-1), np.bool_)
    return out


def packed(mask: Masks) -> Rle:
    """``{"size": [height, width], "counts": [...]}``: lengths of runs off and on in turns, column by column, as COCO
    counts them."""
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.r_[0, ends, len(flat)])
    counts = [0, *runs.tolist()] if flat[0] else runs.tolist()
    return {"size": list(mask.shape), "counts": counts}


def unpacked(rle: Rle) -> Masks:
    """The mask again. ValueError where the runs do not fill it."""
    height, width = rle["size"]
    counts = rle["counts"]
    if sum(counts) != height * width:
        raise ValueError(f"rle: counts {sum(counts)} pixels, wanted {height} x {width}")
    flat: npt.NDArray[np.bool_] = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T
