"""Sets of rows as bitmaps: bit i % 64 of word i // 64 stands for row i. None is the empty set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Ids

Bitmap = NDArray[np.uint64]
Bools = NDArray[np.bool_]


def words(rows: int) -> int:
    """Words of a bitmap over so many rows."""
    return (rows + 63) // 64


def add(bitmap: Bitmap, rows: Ids) -> None:
    """Puts `rows` int64[n] into the set, in place."""
    at = rows.view(np.uint64)
    np.bitwise_or.at(bitmap, at >> np.uint64(6), np.uint64(1) << (at & np.uint64(63)))


def has(bitmap: Bitmap | None, rows: Ids) -> NDArray[np.bool_]:
    """Which of `rows` int64[n] are in the set, bool[n]; −1 and rows that it does not cover are not."""
    if bitmap is None or len(bitmap) == 0:
        return np.zeros(len(rows), np.bool_)
    covered = (rows >= 0) & (rows < 64 * len(bitmap))
    at = np.where(covered, rows, 0).view(np.uint64)
    found: NDArray[np.bool_] = (bitmap[at >> np.uint64(6)] >> (at & np.uint64(63))) & np.uint64(1) != 0
    return found & covered


def resized(bitmap: Bitmap | None, rows: int) -> Bitmap:
    """A copy over so many rows; rows that the set did not cover are not in it."""
    made = np.zeros(words(rows), np.uint64)
    if bitmap is not None:
        made[: len(bitmap)] = bitmap[: len(made)]
    return made


def united(one: Bitmap | None, other: Bitmap | None, rows: int) -> Bitmap | None:
    """The rows that are in either, as a set over so many; not to be changed."""
    if one is None and other is None:
        return None
    return resized(one, rows) | resized(other, rows)


def without(one: Bitmap, other: Bitmap | None) -> Bitmap:
    """The rows of `one` that are not in the other."""
    return one if other is None else one & ~resized(other, 64 * len(one))


def members(bitmap: Bitmap | None) -> Ids:
    """The rows in the set, ascending, int64[n]."""
    return np.flatnonzero(_bits(bitmap)) if bitmap is not None else np.empty(0, np.int64)


def others(bitmap: Bitmap | None, begin: int, end: int) -> Ids:
    """The rows from `begin`, a multiple of 64, to `end` that are not in the set, ascending, int64[n]."""
    if bitmap is None:
        return np.arange(begin, end)
    return begin + np.flatnonzero(_bits(bitmap[begin // 64 : words(end)])[: end - begin] == 0)


def count(bitmap: Bitmap | None) -> int:
    """How many rows are in the set."""
    return 0 if bitmap is None else core.count_bits(bitmap)


def _bits(bitmap: Bitmap) -> NDArray[np.uint8]:
    return np.unpackbits(np.ascontiguousarray(bitmap).view(np.uint8), bitorder="little")


def of_bools(bools: NDArray[np.bool_]) -> Bitmap:
    """The rows whose entry of bool[rows] is true."""
    packed = np.packbits(bools, bitorder="little")
    made = np.zeros(words(len(bools)), np.uint64)
    made.view(np.uint8)[: len(packed)] = packed
    return made


def full(rows: int) -> Bitmap:
    """All of so many rows."""
    made = np.full(words(rows), ~np.uint64(0))
    if rows % 64:
        made[-1] = (1 << rows % 64) - 1
    return made
