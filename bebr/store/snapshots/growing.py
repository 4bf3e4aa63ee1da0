"""Columns of rows that are still being added: made piece by piece, when somebody asks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bebr import core
from bebr.arrays import Ids
from bebr.collection.checks import load_payload
from bebr.collection.filter_tree import Filter
from bebr.store.columns.table import Columns, nothing
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap
from bebr.store.snapshots.matching import MOST_KEPT, Answers, matching_rows

PIECE = 2048
"""Rows of a piece, a multiple of 64. Rows past the last whole piece are looked at one by one."""


class GrowingColumns:
    """Columns of payload ``texts`` (UTF-8), which grow at their end. Threads: any number at once."""

    def __init__(self, texts: core.GrowingTexts) -> None:
        self._texts = texts
        self._pieces: list[Columns] = []
        self._open: list[Mapping[str, Any] | None] = []  # payloads after these
        self._answers: OrderedDict[Filter, _Answer] = OrderedDict()
        self._lock = threading.Lock()  # over all of that

    def matching(self, filter: Filter, rows: int) -> Bitmap:
        """Which of the first ``rows`` rows match; bits past them are not set."""
        with self._lock:
            answer = self._answers.pop(filter, None) or _Answer(filter)
            self._answers[filter] = answer
            if len(self._answers) > MOST_KEPT:
                self._answers.popitem(last=False)
            self._read(rows)
            self._open_until(rows)
            answer.extend(rows, self._pieces, self._open, self._piece_texts)
            return answer.first(rows)

    def columns(self, rows: int, pause: Callable[[], None] = nothing) -> Columns:
        """Of the first ``rows`` rows. ``pause`` is called between pieces of work, while no lock is held."""
        whole = rows // PIECE
        for count in range(1, whole + 1):
            with self._lock:
                self._read(count * PIECE)
            pause()
        with self._lock:
            self._read(rows)
            parts = self._pieces[:whole]
            rest = range(whole * PIECE, rows)
            if rest and len(self._pieces) > whole:
                parts.append(self._pieces[whole].take(np.arange(len(rest))))
            elif rest:
                parts.append(Columns.of_texts(self._texts.take(np.arange(rest.start, rest.stop))))
        return Columns.joined(parts, pause) if parts else Columns(0, {}, True)

    def _read(self, rows: int) -> None:
        """Makes columns of the whole pieces among the first so many rows."""
        for piece in range(len(self._pieces), rows // PIECE):
            self._pieces.append(Columns.of_texts(self._texts.take(np.arange(piece * PIECE, (piece + 1) * PIECE))))
            self._open = []

    def _open_until(self, rows: int) -> None:
        """Reads the payloads past the pieces, up to so many rows."""
        done = len(self._pieces) * PIECE + len(self._open)
        self._open += [load_payload(text.decode()) for text in self._texts.take(np.arange(done, rows))]

    def _piece_texts(self, piece: int) -> Callable[[Ids], list[str]]:
        return lambda rows: [text.decode() for text in self._texts.take(rows + piece * PIECE)]


class _Answer:
    """Which rows match one filter, as far as somebody asked."""

    def __init__(self, filter: Filter) -> None:
        self._filter = filter
        self._rows = 0
        self._bits = bitmaps.resized(None, PIECE)

    def extend(
        self,
        rows: int,
        pieces: Sequence[Columns],
        rest: Sequence[Mapping[str, Any] | None],
        texts: Callable[[int], Callable[[Ids], list[str]]],
    ) -> None:
        """Looks at the rows up to ``rows``. ``rest``: payloads past the pieces; ``texts(i)``: those of piece i."""
        if rows <= self._rows:
            return
        wanted = -(-rows // PIECE) * PIECE
        if 64 * len(self._bits) < wanted:
            self._bits = bitmaps.resized(self._bits, 2 * wanted)
        begin = self._rows // PIECE  # a piece that was looked at in part is looked at again
        for number in range(begin, min(len(pieces), -(-rows // PIECE))):
            found = matching_rows(self._filter, pieces[number], texts(number), Answers())
            self._bits[number * PIECE // 64 : (number + 1) * PIECE // 64] = found
            self._rows = (number + 1) * PIECE
        first = len(pieces) * PIECE
        start = max(self._rows, first)
        if rows > start:
            passed = [self._filter.matches(payload) for payload in rest[start - first : rows - first]]
            bitmaps.add(self._bits, start + np.flatnonzero(passed))
            self._rows = rows

    def first(self, rows: int) -> Bitmap:
        """Of the first ``rows`` rows, a copy."""
        return bitmaps.resized(self._bits, rows) & bitmaps.full(rows)
