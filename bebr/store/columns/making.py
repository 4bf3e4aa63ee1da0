"""Columns from values, and from other columns: which kind they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.collection.field_values import Moment
from bebr.store.columns.column import Column, Values, key_of, text_hash
from bebr.store.columns.flatten import INNER, Field

MOST_DISTINCT = 1 << 16
"""Of a keyword. What has more is text: their list would be searched, merged and kept in memory value by value."""
_MOST_KEYWORD = 64
"""Characters, on the mean, of a keyword's distinct values. Longer ones would store texts a second time."""
_EXACT = 1 << 53


# Types of values, as csrc/payload/fields.h numbers them.
_INNER, _BOOL, _INT, _FLOAT, _TEXT, _LONG_INT = (1 << i for i in range(6))


@dataclass(frozen=True)
class TypedField:
    """What the extension makes of the values of one path (`core.payload_fields`)."""

    path: str
    kinds: int
    listed: bool
    plain: bool
    rows: NDArray[np.uint32]
    types: NDArray[np.uint8]
    data: NDArray[np.int64]
    texts: list[str]

    def column(self, rows: int) -> Column:
        """The same as `column_of` of its values."""
        where = None if len(self.rows) == rows and _each_once(self.rows) else self.rows
        in_list = None if self.listed and self.plain else self.listed
        if self.kinds == _INT:
            return Column("int", self.data, where, in_list)
        if self.kinds == _FLOAT:
            return Column("float", self.data.view(np.float64), where, in_list)
        if self.kinds == _INT | _FLOAT and _exact(self.data[self.types == _INT]):
            numbers = np.where(self.types == _INT, self.data.astype(np.float64), self.data.view(np.float64))
            return Column("float", numbers, where, in_list)
        if self.kinds in (_TEXT, _BOOL, _INNER):
            distinct = {_TEXT: tuple(self.texts), _BOOL: (False, True), _INNER: (INNER,)}[self.kinds]
            keyword = _keyword(self.data, distinct, where, in_list)
            return keyword if _fits(distinct) else _spelt(keyword)
        return column_of(Field(self.rows.tolist(), self._values(), self.listed, self.plain), rows)

    def _values(self) -> list[Any]:
        read: dict[int, Callable[[int], Any]] = {
            _INNER: lambda _: INNER,
            _BOOL: bool,
            _INT: int,
            _TEXT: self.texts.__getitem__,
            _LONG_INT: lambda place: int(self.texts[place]),
        }
        floats = self.data.view(np.float64).tolist()
        typed = zip(self.types.tolist(), self.data.tolist(), floats, strict=True)
        return [number if kind == _FLOAT else read[kind](data) for kind, data, number in typed]


def column_of(field: Field, rows: int) -> Column:
    """The values of one path in so many rows."""
    values, types = field.values, set(map(type, field.values))
    at = np.array(field.rows, np.uint32)
    where = None if len(at) == rows and _each_once(at) else at
    in_list = None if field.listed and field.plain else field.listed
    if types == {int} and min(values) >= -(1 << 63) and max(values) < 1 << 63:
        return Column("int", np.array(values, np.int64), where, in_list)
    if types <= {int, float} and all(type(value) is float or -_EXACT <= value <= _EXACT for value in values):
        return Column("float", np.array(values, np.float64), where, in_list)
    codes: dict[Any, int] = {}
    coded = [codes.setdefault(key_of(value), len(codes)) for value in values]
    first: dict[int, Any] = {}
    for code, value in zip(reversed(coded), reversed(values), strict=True):
        first[code] = value
    distinct = tuple(first[code] for code in range(len(codes)))
    keyword = _keyword(np.array(coded, np.int64), distinct, where, in_list)
    return keyword if _fits(distinct) else _spelt(keyword)


def _each_once(rows: NDArray[np.uint32]) -> bool:
    """Of as many values as there are rows: whether each row has one."""
    return bool((np.diff(rows) == 1).all())


def _fits(distinct: Sequence[Any]) -> bool:
    texts = [value for value in distinct if isinstance(value, str)]
    return len(distinct) <= MOST_DISTINCT and sum(map(len, texts)) <= _MOST_KEYWORD * max(len(texts), 16)


def _keyword(codes: Values, distinct: tuple[Any, ...], rows: NDArray[np.uint32] | None, in_list: bool | None) -> Column:
    # Codes wider than uint16 are those of a column on its way to another kind.
    dtype = np.uint8 if len(distinct) <= 1 << 8 else np.uint16 if len(distinct) <= 1 << 16 else np.uint32
    return Column("keyword", codes.astype(dtype), rows, in_list, distinct)


def _spelt(keyword: Column) -> Column:
    """A keyword as what has no list of values."""
    if not all(isinstance(value, str) for value in keyword.distinct):
        return unknown(keyword)
    hashes = np.array([text_hash(value) for value in keyword.distinct], np.uint32)
    moments = _moments(keyword.distinct)
    return Column(
        "text",
        hashes[keyword.values],
        keyword.rows,
        keyword.in_list,
        moments=None if moments is None else moments[keyword.values],
    )


def _moments(texts: Sequence[Any]) -> NDArray[np.int64] | None:
    """Where all are ISO text."""
    found = []
    for text in texts:
        at = Moment.read(text)
        if at is None:
            return None
        found.append(at.microseconds)
    return np.array(found, np.int64)


def unknown(column: Column) -> Column:
    """What is there, and nothing of it."""
    return Column("unknown", np.empty(0, np.uint8), column.rows, column.in_list)


def taken(column: Column, rows: int, kept: NDArray[np.int64], ascending: bool = True) -> Column:
    """The column of the rows ``kept`` int64[k] of ``rows``; they become 0 to k - 1. ``ascending``: whether they are."""
    if column.rows is None:
        picked: NDArray[np.int64] = kept
        at = None
    else:
        place = np.full(rows, -1, np.int64)
        place[kept] = np.arange(len(kept))
        new = place[column.rows]
        picked = np.flatnonzero(new >= 0)
        if not ascending:
            picked = picked[np.argsort(new[picked], kind="stable")]
        at = new[picked].astype(np.uint32)
    return Column(
        column.kind,
        column.values[picked] if column.kind != "unknown" else column.values,
        at,
        column.in_list,
        column.distinct,
        None if column.moments is None else column.moments[picked],
    )


def joined(columns: Sequence[tuple[Column | None, int]]) -> Column:
    """One column for the rows of several, one after the other; each with its number of rows, None where none has a
    value. At least one is a column."""
    there = [column for column, _ in columns if column is not None]
    if len(columns) == 1:
        return there[0]
    rows = _joined_rows(columns)
    lists = {column.in_list for column in there}
    in_list = lists.pop() if len(lists) == 1 else None
    kinds = {column.kind for column in there}
    if kinds == {"int"}:
        return Column("int", np.concatenate([c.values for c in there]), rows, in_list)
    if kinds <= {"int", "float"} and all(c.kind == "float" or _exact(c.values) for c in there):
        return Column("float", np.concatenate([c.values.astype(np.float64) for c in there]), rows, in_list)
    if kinds == {"keyword"} or kinds <= {"int", "float", "keyword"}:
        made = _joined_keywords([_coded(column) for column in there], rows, in_list)
        if made is not None:
            return made
    if kinds <= {"keyword", "text"}:
        parts = [column if column.kind == "text" else _spelt(column) for column in there]
        if all(part.kind == "text" for part in parts):
            times = [part.moments for part in parts if part.moments is not None]
            moments = np.concatenate(times) if len(times) == len(parts) else None
            return Column("text", np.concatenate([p.values for p in parts]), rows, in_list, moments=moments)
    return Column("unknown", np.empty(0, np.uint8), rows, in_list)


def _exact(values: Values) -> bool:
    return bool(((values >= -_EXACT) & (values <= _EXACT)).all())


def _joined_rows(columns: Sequence[tuple[Column | None, int]]) -> NDArray[np.uint32] | None:
    if all(column is not None and column.rows is None for column, _ in columns):
        return None
    parts = []
    begin = 0
    for column, rows in columns:
        if column is not None:
            own = np.arange(rows, dtype=np.uint32) if column.rows is None else column.rows
            parts.append(own + np.uint32(begin))
        begin += rows
    return np.concatenate(parts)


def _coded(column: Column) -> Column:
    """A number's column as a keyword's."""
    if column.kind == "keyword":
        return column
    distinct, codes = np.unique(column.values, return_inverse=True)
    return Column("keyword", codes, column.rows, column.in_list, tuple(distinct.tolist()))


def _joined_keywords(columns: Sequence[Column], rows: NDArray[np.uint32] | None, in_list: bool | None) -> Column | None:
    """None where too much is distinct."""
    codes: dict[Any, int] = {}
    distinct: list[Any] = []
    parts = []
    for column in columns:
        used = np.flatnonzero(np.bincount(column.values, minlength=len(column.distinct))).tolist()
        moved = np.zeros(len(column.distinct), np.uint32)
        for code in used:
            value = column.distinct[code]
            moved[code] = codes.setdefault(key_of(value), len(codes))
            if len(codes) > len(distinct):
                distinct.append(value)
        if len(codes) > MOST_DISTINCT:
            return None
        parts.append(moved[column.values])
    if not _fits(distinct):
        return None
    return _keyword(np.concatenate(parts), tuple(distinct), rows, in_list)
