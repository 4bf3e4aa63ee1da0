"""The inverted index of rows that are still being added: it reads their payloads when somebody asks."""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.collection.checks import load_payload
from bebr.store.text.index import MOST_COUNT, TextIndex
from bebr.store.text.words import payload_words

_PIECE = 512  # rows read at a time


class GrowingText:
    """Words of the `fields` of rows whose payload is `payload(row)`, JSON in UTF-8. Threads: any number at once."""

    def __init__(self, payload: Callable[[int], bytes], fields: Sequence[str]) -> None:
        self._payload, self._fields = payload, fields
        self._postings: dict[str, tuple[array[int], array[int]]] = {}  # rows, ascending, and counts
        self._lengths = array("I")
        self._lock = threading.Lock()  # over both

    def read(self, rows: int, pause: Callable[[], None]) -> GrowingView:
        """Of the first `rows` rows. `pause` is called between pieces of work, while no lock is held."""
        while len(self._lengths) < rows:
            with self._lock:
                begin = len(self._lengths)
                for row in range(begin, min(begin + _PIECE, rows)):
                    self._add(row, payload_words(load_payload(self._payload(row).decode()), self._fields))
            pause()
        return GrowingView(self, rows)

    def _add(self, row: int, words: list[str]) -> None:
        for word, count in Counter(words).items():
            found = self._postings.get(word)
            if found is None:
                found = self._postings[word] = array("I"), array("B")
            found[0].append(row)
            found[1].append(min(count, MOST_COUNT))
        self._lengths.append(len(words))

    def lengths(self, rows: int) -> NDArray[np.uint32]:
        """Of the first `rows` rows, a copy."""
        with self._lock:
            return np.array(self._lengths[:rows], np.uint32)

    def find(self, word: str, rows: int) -> tuple[Ids, NDArray[np.uint8]]:
        """`Postings.find` of the first `rows` rows."""
        with self._lock:
            found = self._postings.get(word, (array("I"), array("B")))
            at, counts = np.array(found[0], np.int64), np.array(found[1], np.uint8)
        there = int(np.searchsorted(at, rows))
        return at[:there], counts[:there]

    def index(self, rows: int, pause: Callable[[], None]) -> TextIndex:
        """What the first `rows` rows have, which were read."""
        with self._lock:
            known = list(self._postings)
        # The order of code points is that of UTF-8.
        names, ends, at, counts = [], [0], [np.empty(0, np.uint32)], [np.empty(0, np.uint8)]
        for place, word in enumerate(sorted(known)):
            found, times = self.find(word, rows)
            if len(found):
                names.append(word.encode())
                ends.append(ends[-1] + len(found))
                at.append(found.astype(np.uint32))
                counts.append(times)
            if place % _PIECE == 0:
                pause()
        return TextIndex(
            *ended(names), np.array(ends, np.uint64), np.concatenate(at), np.concatenate(counts), self.lengths(rows)
        )


@dataclass(frozen=True, eq=False)
class GrowingView:
    """The first `rows` rows: `Postings` that do not change."""

    _text: GrowingText
    rows: int

    @cached_property
    def lengths(self) -> NDArray[np.uint32]:
        return self._text.lengths(self.rows)

    def find(self, word: str) -> tuple[Ids, NDArray[np.uint8]]:
        return self._text.find(word, self.rows)

    def index(self, pause: Callable[[], None]) -> TextIndex:
        return self._text.index(self.rows, pause)


def ended(names: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Where each begins and the last one ends, uint64[n + 1], and all of them, uint8."""
    at = np.zeros(len(names) + 1, np.uint64)
    at[1:] = np.cumsum(np.fromiter(map(len, names), np.int64, len(names)))
    return at, np.frombuffer(b"".join(names), np.uint8)
