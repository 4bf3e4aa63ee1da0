"""All columns of some rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bebr import core
from bebr.arrays import Ids
from bebr.collection.checks import load_payload
from bebr.collection.filter_tree import Condition
from bebr.store.columns.column import Column
from bebr.store.columns.flatten import MOST_DEPTH, MOST_PATHS, Fields
from bebr.store.columns.making import TypedField, column_of, joined, taken
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap


def nothing() -> None:
    """A pause of no length."""


@dataclass(frozen=True, eq=False)
class Columns:
    """The fields of ``rows`` rows by their paths. ``complete``: a path without a column has no value in any row."""

    rows: int
    by_path: Mapping[str, Column]
    complete: bool

    @staticmethod
    def of(payloads: Iterable[Mapping[str, Any] | None], rows: int) -> Columns:
        """Of the payloads of so many rows."""
        fields = Fields.of(payloads)
        made = {path: column_of(field, rows) for path, field in fields.by_path.items()}
        return Columns(rows, made, fields.complete)

    @staticmethod
    def of_texts(texts: Sequence[bytes]) -> Columns:
        """Of payloads as JSON in UTF-8, b"" for none. ValueError if one is not a JSON object."""
        try:
            found = core.payload_fields(list(texts), MOST_PATHS, MOST_DEPTH)
        except UnicodeDecodeError:
            found = None
        if found is None:  # not as plain as most: Python knows what each text means, or what is wrong with it
            return Columns.of((load_payload(text.decode()) for text in texts), len(texts))
        complete, fields = found
        typed = (TypedField(*field) for field in fields)
        return Columns(len(texts), {field.path: field.column(len(texts)) for field in typed}, complete)

    def find(self, condition: Condition) -> tuple[Bitmap, bool]:
        """The rows that pass; and whether that is sure, or whether those that pass are to be looked at again in the
        payloads."""
        column = self.by_path.get(".".join(condition.path))
        if column is None:
            return (bitmaps.resized(None, self.rows), True) if self.complete else (bitmaps.full(self.rows), False)
        found, sure = column.find(condition)
        if column.rows is None:
            return (bitmaps.full(self.rows) if found is None else bitmaps.of_bools(found)), sure
        hits = np.zeros(self.rows, np.bool_)
        hits[column.rows if found is None else column.rows[np.flatnonzero(found)]] = True
        return bitmaps.of_bools(hits), sure

    def take(self, rows: Ids) -> Columns:
        """Those of ``rows`` int64[n], ascending."""
        if len(rows) == self.rows:
            return self
        made = {path: taken(column, self.rows, rows) for path, column in self.by_path.items()}
        there = {path: column for path, column in made.items() if column.rows is None or len(column.rows)}
        return Columns(len(rows), there, self.complete)

    def arranged(self, order: Ids, pause: Callable[[], None] = nothing) -> Columns:
        """All rows in another order: ``order`` int64[rows], the old place of each. ``pause`` is called between pieces
        of work."""
        made = {}
        for path, column in self.by_path.items():
            made[path] = taken(column, self.rows, order, ascending=False)
            pause()
        return Columns(self.rows, made, self.complete)

    @staticmethod
    def joined(parts: Sequence[Columns], pause: Callable[[], None] = nothing) -> Columns:
        """Those of the rows of all parts, one after the other. ``pause`` is called between pieces of work."""
        complete = all(part.complete for part in parts)
        paths = list(dict.fromkeys(path for part in parts for path in part.by_path))
        # Where a part may have left a path out, nobody knows which of its rows have it.
        known = [path for path in paths if complete or all(path in part.by_path or part.complete for part in parts)]
        made = {}
        for path in known[:MOST_PATHS]:
            made[path] = joined([(part.by_path.get(path), part.rows) for part in parts])
            pause()
        return Columns(sum(part.rows for part in parts), made, complete and len(made) == len(paths))
