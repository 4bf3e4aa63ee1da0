"""The live rows of some parts, numbered one after the other: read in any order, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.store.columns.table import Columns
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bools
from bebr.store.files.kept import Keeping, Rows
from bebr.store.snapshots.part import Part, PartView
from bebr.store.text.index import TextIndex

# Rows of a piece: every step that holds Python's lock is short.
PIECE = 8192


class LiveRows:
    """Of the parts that `views` show. 8 bytes a row."""

    def __init__(self, views: Sequence[PartView]) -> None:
        self.parts = [view.part for view in views]
        self._rows = [view.live_rows(0, view.part.rows) for view in views]
        self._ends = np.cumsum([0, *(len(rows) for rows in self._rows)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def pieces(self, order: Ids | None = None) -> Iterator[Piece]:
        """All rows, or those of the numbers `order` int64[n], in that order."""
        count = len(self) if order is None else len(order)
        for begin in range(0, count, PIECE):
            end = min(begin + PIECE, count)
            yield self.piece(np.arange(begin, end) if order is None else order[begin:end])

    def piece(self, numbers: Ids) -> Piece:
        """The rows of these numbers."""
        which = np.searchsorted(self._ends, numbers, side="right") - 1
        runs = []
        for part in np.unique(which).tolist():
            at = np.flatnonzero(which == part)
            runs.append(Run(self.parts[part], self._rows[part][numbers[at] - self._ends[part]], at))
        return Piece(runs, len(numbers))

    def columns(self, pause: Callable[[], None]) -> Columns:
        """Of the payload fields of all rows. `pause` is called between pieces of work."""
        made = []
        for part, rows in zip(self.parts, self._rows, strict=True):
            made.append(part.columns(pause).take(rows))
            pause()
        return Columns.joined(made, pause)

    def words(self, pause: Callable[[], None]) -> list[tuple[TextIndex, Ids]]:
        """Of all parts, each with its live rows."""
        return [(part.text_index(pause), rows) for part, rows in zip(self.parts, self._rows, strict=True)]


@dataclass(frozen=True)
class Run:
    """`rows` int64[m] of a part, and their places `at` int64[m] in a piece."""

    part: Part
    rows: Ids
    at: Ids


@dataclass(frozen=True)
class Piece:
    """Some rows."""

    runs: list[Run]
    size: int

    def ids(self) -> Ids:
        return self._gathered((run.at, run.part.index.ids[run.rows]) for run in self.runs)

    def kept(self) -> Rows:
        """Their vectors as they are stored."""
        return self._gathered((run.at, run.part.kept(run.rows)) for run in self.runs)

    def bare(self) -> Bools:
        """Which have no vector."""
        return self._gathered((run.at, bitmaps.has(run.part.bare, run.rows)) for run in self.runs)

    def codes(self, bz: Binarizer, keeping: Keeping | None) -> Codes:
        """By `bz`: made of the kept vectors where they are another model's."""
        made = []
        for run in self.runs:
            index = run.part.index
            if index.binarizer.digest == bz.digest:
                made.append((run.at, index.codes(index.ids[run.rows])[0]))
            else:
                assert keeping is not None
                made.append((run.at, bz.encode(keeping.vectors(run.part.kept(run.rows)))))
        planes = self._gathered((at, codes.planes) for at, codes in made)
        return Codes(planes, self._gathered((at, codes.factors) for at, codes in made))

    def vectors(self, bz: Binarizer, keeping: Keeping | None) -> Floats:
        """In the space that `bz` scores in, float32[n, inner_dim]: of the kept vectors, else what codes stand for."""
        if keeping is not None:
            return bz.vectors(keeping.vectors(self.kept()))
        return bz.reconstructed(self.codes(bz, keeping))

    def payloads(self) -> tuple[Ids, Iterable[bytes]]:
        """The lengths of their payloads' texts, and the texts, in pieces that are theirs when joined."""
        if len(self.runs) == 1:
            run = self.runs[0]
            return run.part.text_bytes(run.rows), run.part.text_pieces(run.rows)
        return self._texts((run.at, run.part.text_data(run.rows)) for run in self.runs)

    def keys(self) -> tuple[Ids, Iterable[bytes]]:
        """The same of the keys of their ids."""
        if len(self.runs) == 1:
            run = self.runs[0]
            return run.part.key_bytes(run.rows), run.part.key_pieces(run.rows)
        return self._texts((run.at, run.part.keys(run.rows)) for run in self.runs)

    def _texts(self, found: Iterable[tuple[Ids, list[bytes]]]) -> tuple[Ids, Iterable[bytes]]:
        texts = [b""] * self.size
        for at, some in found:
            for place, text in zip(at.tolist(), some, strict=True):
                texts[place] = text
        return np.fromiter(map(len, texts), np.int64, self.size), texts

    def _gathered(self, found: Iterable[tuple[Ids, NDArray[np.generic]]]) -> NDArray:  # type: ignore[type-arg]
        """Arrays of rows, each at its places."""
        out = None
        for at, values in found:
            if len(at) == self.size:
                return values
            if out is None:
                out = np.empty((self.size, *values.shape[1:]), values.dtype)
            out[at] = values
        assert out is not None
        return out
