"""The inverted index of rows that never change."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids

MOST_COUNT = 255
"""A word counts at most so many times in a row: a byte, and BM25 hardly tells more apart."""


class Postings(Protocol):
    """Which words the first rows of something have."""

    @property
    def lengths(self) -> NDArray[np.uint32]:
        """How many words each row has, uint32[rows]."""

    def find(self, word: str) -> tuple[Ids, NDArray[np.uint8]]:
        """The rows that have it, ascending, int64[m], and how often, at most `MOST_COUNT`, uint8[m]."""


@dataclass(frozen=True, eq=False)
class TextIndex:
    """Of T words in the order of their UTF-8, which is ``words[word_at[i] : word_at[i + 1]]``, the postings
    ``rows`` and ``counts`` at ``at[i] : at[i + 1]``; ``lengths`` uint32[rows]."""

    word_at: NDArray[np.uint64]
    words: NDArray[np.uint8]
    at: NDArray[np.uint64]
    rows: NDArray[np.uint32]
    counts: NDArray[np.uint8]
    lengths: NDArray[np.uint32]

    def __post_init__(self) -> None:
        """ValueError unless the arrays fit each other."""
        sizes = len(self.word_at), int(self.word_at[-1]), int(self.at[-1]), int(self.word_at[0]) + int(self.at[0])
        if sizes != (len(self.at), len(self.words), len(self.rows), 0) or len(self.rows) != len(self.counts):
            raise ValueError("its arrays do not fit each other")

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.at) - 1

    def word(self, i: int) -> bytes:
        return self.words[int(self.word_at[i]) : int(self.word_at[i + 1])].tobytes()

    def find(self, word: str) -> tuple[Ids, NDArray[np.uint8]]:
        wanted = word.encode()
        i = bisect_left(range(len(self)), wanted, key=self.word)
        if i == len(self) or self.word(i) != wanted:
            return np.empty(0, np.int64), np.empty(0, np.uint8)
        found = slice(int(self.at[i]), int(self.at[i + 1]))
        return self.rows[found].astype(np.int64), self.counts[found]

    def all_words(self) -> list[bytes]:
        data, ends = self.words.tobytes(), self.word_at.tolist()
        return [data[begin:end] for begin, end in pairwise(ends)]
