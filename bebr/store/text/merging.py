"""One inverted index of the rows of several, a few words at a time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.store.text.index import TextIndex

_PIECE = 1 << 18  # postings at a time, or those of one word where it has more


def merged(
    parts: Sequence[tuple[TextIndex, Ids]],
    rows: IO[bytes],
    counts: IO[bytes],
    pause: Callable[[], None],
    order: Ids | None = None,
) -> tuple[list[bytes], Ids, NDArray[np.uint32]]:
    """The rows int64[n] of each part, ascending, one after the other; or arranged in an `order`, the place among these
    of each row. Returns the words in order, where their postings
    begin and the last ones end, int64[T + 1], and the lengths of all rows; postings are written to the two files.
    `pause` is called between pieces of work."""
    place: dict[bytes, int] = {}
    for word in heapq.merge(*(index.all_words() for index, _ in parts)):
        place.setdefault(word, len(place))
    pause()
    numbers = [np.fromiter(map(place.__getitem__, index.all_words()), np.int64) for index, _ in parts]
    renumbered = list(_renumbered(parts, order))
    sizes = np.zeros(len(place), np.int64)
    for (index, _), its in zip(parts, numbers, strict=True):
        sizes[its] += _sizes(index.at)
    found = np.zeros(len(place), np.int64)
    for begin, end in _ranges(sizes):
        word_of, row, count = [], [], []
        for (index, _), its, new in zip(parts, numbers, renumbered, strict=True):
            first, last = np.searchsorted(its, (begin, end))
            here = slice(int(index.at[first]), int(index.at[last]))
            at = new[index.rows[here]]
            there = at >= 0
            each = _sizes(index.at[first : last + 1])
            word_of.append(np.repeat(its[first:last] - begin, each)[there])
            row.append(at[there])
            count.append(index.counts[here][there])
        words, at = np.concatenate(word_of), np.concatenate(row)
        # Parts come in the order of their rows.
        sorted_by = np.argsort(words, kind="stable") if order is None else np.lexsort((at, words))
        rows.write(at[sorted_by].astype("<u4").tobytes())
        counts.write(np.concatenate(count)[sorted_by].tobytes())
        found[begin:end] = np.bincount(words, minlength=end - begin)
        pause()
    names = [word for word, left in zip(place, found.tolist(), strict=True) if left]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(found[found > 0])])
    lengths = [np.empty(0, np.uint32), *(index.lengths[chosen] for index, chosen in parts)]
    all_lengths = np.concatenate(lengths)
    return names, ends, all_lengths if order is None else all_lengths[order]


def _sizes(at: NDArray[np.uint64]) -> Ids:
    sizes: Ids = (at[1:] - at[:-1]).astype(np.int64)
    return sizes


def _renumbered(parts: Sequence[tuple[TextIndex, Ids]], order: Ids | None) -> Iterator[NDArray[Any]]:
    """Of each row of each part its new number, −1 for those that are left out."""
    place = None if order is None else np.empty(len(order), np.int64)
    if place is not None:
        place[order] = np.arange(len(place))
    begin = 0
    for index, rows in parts:
        new = np.full(len(index.lengths), -1, np.int64)
        numbers = np.arange(begin, begin + len(rows))
        new[rows] = numbers if place is None else place[numbers]
        begin += len(rows)
        yield new


def _ranges(sizes: Ids) -> Iterator[tuple[int, int]]:
    """Words begin..end - 1 that have about a piece of postings together, all of them in turn."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _PIECE, side="right")))
        yield begin, end
        begin = end
