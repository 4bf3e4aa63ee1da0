"""The inverted index of rows that are still being added: it reads their payloads when somebody asks."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.collection.checks import load_payload
from bebr.lazy import lazy_property
from bebr.store.text.index import MOST_COUNT, TextIndex
from bebr.store.text.words import payload_words

_PIECE = 512  # rows read at a time
_ROW = (1 << 32) - 1

_Counted = tuple[Ids, NDArray[np.uint8]]
"""Keys, ascending: the number of a word, from bit 32 on, and a row; and how often the row has it."""


class GrowingText:
    """Words of the `fields` of rows whose payload is `payload(row)`, JSON in UTF-8. Threads: any number at once."""

    def __init__(self, payload: Callable[[int], bytes], fields: Sequence[str]) -> None:
        self._payload, self._fields = payload, fields
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)  # of words, as they came
        # Of rows one after the other. Each has more than the next, so there are few.
        self._pieces: list[_Counted] = []
        self._lengths = np.empty(0, np.uint32)  # has room
        self._rows = 0
        self._lock = threading.Lock()  # over all of that

    def read(self, rows: int, pause: Callable[[], None]) -> GrowingView:
        """Of the first `rows` rows. `pause` is called between pieces of work, while no lock is held."""
        while self._rows < rows:
            with self._lock:
                wanted = range(self._rows, min(self._rows + _PIECE, rows))
                payloads = (load_payload(self._payload(row).decode()) for row in wanted)
                self._add([payload_words(payload, self._fields) for payload in payloads])
            pause()
        return GrowingView(self, rows)

    def _add(self, rows: Sequence[Sequence[str]]) -> None:
        """The words of the next rows."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        words = map(self._numbers.__getitem__, chain.from_iterable(rows))
        numbers = np.fromiter(words, np.int64, int(lengths.sum()))
        at = np.repeat(np.arange(self._rows, self._rows + len(rows)), lengths)
        keys, counts = np.unique(numbers << 32 | at, return_counts=True)
        piece = keys, np.minimum(counts, MOST_COUNT).astype(np.uint8)
        while self._pieces and len(self._pieces[-1][0]) <= 2 * len(piece[0]):
            piece = _merged(self._pieces.pop(), piece)
        self._pieces.append(piece)
        end = self._rows + len(rows)
        if end > len(self._lengths):
            self._lengths = np.resize(self._lengths, max(2 * end, _PIECE))
        self._lengths[self._rows : end] = lengths
        self._rows = end

    def lengths(self, rows: int) -> NDArray[np.uint32]:
        """Of the first `rows` rows, a copy."""
        with self._lock:
            return self._lengths[:rows].copy()

    def find(self, word: str, rows: int) -> tuple[Ids, NDArray[np.uint8]]:
        """`Postings.find` of the first `rows` rows."""
        with self._lock:
            number, pieces = self._numbers.get(word), list(self._pieces)
        at, counts = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
        if number is not None:
            for keys, times in pieces:
                here = slice(*np.searchsorted(keys, (number << 32, number << 32 | rows)))
                at.append(keys[here] & _ROW)
                counts.append(times[here])
        return np.concatenate(at), np.concatenate(counts)

    def index(self, rows: int) -> TextIndex:
        """What the first `rows` rows have, which were read."""
        with self._lock:
            words, pieces, lengths = list(self._numbers), list(self._pieces), self._lengths[:rows].copy()
        keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in pieces)])
        counts = np.concatenate([np.empty(0, np.uint8), *(counts for _, counts in pieces)])
        here = (keys & _ROW) < rows
        keys, counts = keys[here], counts[here]
        # The order of code points is that of UTF-8.
        in_order = sorted(range(len(words)), key=words.__getitem__)
        place = np.empty(len(words), np.int64)
        place[in_order] = np.arange(len(words))
        keys = place[keys >> 32] << 32 | keys & _ROW
        by_word = np.argsort(keys)
        keys, counts = keys[by_word], counts[by_word]
        sizes = np.bincount(keys >> 32, minlength=len(words))
        names = [words[number].encode() for number, size in zip(in_order, sizes.tolist(), strict=True) if size]
        at = np.zeros(len(names) + 1, np.uint64)
        at[1:] = np.cumsum(sizes[sizes > 0])
        return TextIndex(*ended(names), at, (keys & _ROW).astype(np.uint32), counts, lengths)


@dataclass(frozen=True, eq=False)
class GrowingView:
    """The first `rows` rows: `Postings` that do not change."""

    _text: GrowingText
    rows: int

    @lazy_property
    def lengths(self) -> NDArray[np.uint32]:
        return self._text.lengths(self.rows)

    def find(self, word: str) -> tuple[Ids, NDArray[np.uint8]]:
        return self._text.find(word, self.rows)

    def index(self) -> TextIndex:
        return self._text.index(self.rows)


def _merged(one: _Counted, other: _Counted) -> _Counted:
    keys = np.concatenate([one[0], other[0]])
    order = np.argsort(keys, kind="stable")
    return keys[order], np.concatenate([one[1], other[1]])[order]


def ended(names: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Where each begins and the last one ends, uint64[n + 1], and all of them, uint8."""
    at = np.zeros(len(names) + 1, np.uint64)
    at[1:] = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
    return at, np.frombuffer(b"".join(names), np.uint8)
