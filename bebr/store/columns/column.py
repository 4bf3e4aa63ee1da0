"""One field of some rows: its values by row, of a type that numpy compares at once.

| kind | what of each value | for |
|---|---|---|
| int | int64 | whole numbers of 64 bits |
| float | float64 | numbers, whole ones up to 2^53 among them |
| keyword | its place in a list of the distinct values, uint8 or uint16 | bools, names, tags, any mix of types |
| text | CRC-32, uint32; points in time, int64, where all are ISO text | text of which too much is distinct for a list |
| unknown | nothing but that it is there | mixes of which too much is distinct |
"""

from __future__ import annotations

import operator
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bebr.collection.field_values import VALUE_TESTS, Moment, Scalar, is_number
from bebr.collection.filter_tree import Condition
from bebr.lazy import lazy_property
from bebr.store.columns.flatten import INNER

Kind = Literal["int", "float", "keyword", "text", "unknown"]
Values = NDArray[Any]

DTYPES: dict[str, tuple[str, ...]] = {
    "int": ("<i8",),
    "float": ("<f8",),
    "keyword": ("|u1", "<u2"),
    "text": ("<u4",),
    "unknown": ("|u1",),
}
"""What `Column.values` may be."""

_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_TEXT_TESTS: dict[str, Callable[[str, str], Any]] = {**_ORDERS, "contains": operator.contains}
_EXACT = 1 << 53
"""Whole numbers up to it are floats without loss."""


@dataclass(frozen=True, eq=False)
class Column:
    """``values`` [m], and the ``rows`` uint32[m] that they are of, ascending, a row as often as it has values; None:
    each row has one. ``distinct``: of a keyword, in no order; ``moments`` int64[m]: of text; ``in_list``: whether the
    values are elements of lists, None where some are. ``values`` of kind "unknown": empty."""

    kind: Kind
    values: Values
    rows: NDArray[np.uint32] | None
    in_list: bool | None
    distinct: tuple[Any, ...] = ()
    moments: NDArray[np.int64] | None = None

    def find(self, condition: Condition) -> tuple[NDArray[np.bool_] | None, bool]:
        """Which values pass, bool[m], None: all; and whether that is sure, or to be looked at again in the payloads.
        Whoever does not pass surely fails."""
        test, operand = condition.test, condition.operand
        if test == "exists":
            return None, True
        if test == "contains" and self.in_list:
            test = "eq"
        if self.kind == "unknown" or (test == "contains" and self.in_list is None):
            return None, False
        if self.kind == "keyword":
            return self._keyword(test, operand), True
        if self.kind == "text":
            return self._text(test, operand)
        return self._number(test, operand), True

    def _nothing(self) -> NDArray[np.bool_]:
        return np.zeros(len(self.values), np.bool_)

    def _number(self, test: str, operand: Any) -> NDArray[np.bool_]:
        if test == "in":
            found = self._nothing()
            if wanted := [value for one in operand if (value := self._as_here(one)) is not None]:
                found = np.isin(self.values, np.array(wanted, self.values.dtype))
            return found
        if test == "contains" or not is_number(operand):
            return self._nothing()
        if test == "eq":
            value = self._as_here(operand)
            return self._nothing() if value is None else self.values == value
        return self._compared(test, operand)

    def _as_here(self, operand: Scalar) -> int | float | None:
        """A number that equals the operand and is of the column's type; None: there is none."""
        if not is_number(operand):
            return None
        number: Any = operand
        if self.kind == "float":
            try:
                return float(number) if float(number) == number else None
            except OverflowError:
                return None
        return int(number) if number == int(number) and -(1 << 63) <= number < 1 << 63 else None

    def _compared(self, test: str, operand: Any) -> NDArray[np.bool_]:
        """An order by numbers, as exact as Python's: numpy would round a whole number to a float."""
        if self.kind == "float":
            if isinstance(operand, int) and abs(operand) > _EXACT:
                # Of floats, none lies between a number and the next float towards zero.
                return _beyond(test, operand, self.values)
            return _bools(_ORDERS[test](self.values, float(operand)))
        floor = operand // 1 if isinstance(operand, float) else operand
        whole = int(floor)
        if whole != operand:  # between whole and the next: v > operand is v > whole, as is v >= operand
            test = {"gt": "gt", "gte": "gt", "lt": "lte", "lte": "lte"}[test]
        if whole >= 1 << 63:
            return np.full(len(self.values), test in ("lt", "lte"))
        if whole < -(1 << 63):
            return np.full(len(self.values), test in ("gt", "gte"))
        return _bools(_ORDERS[test](self.values, np.int64(whole)))

    def _keyword(self, test: str, operand: Any) -> NDArray[np.bool_]:
        if test in ("eq", "in"):
            hits = [code for one in (operand if test == "in" else (operand,)) for code in self._codes_of(one)]
        elif isinstance(operand, Moment) and test in _ORDERS:
            order = _ORDERS[test]
            hits = [code for code, at in self._distinct_moments if order(at, operand.microseconds)]
        elif isinstance(operand, str):
            text_test = _TEXT_TESTS[test]
            hits = [code for code, text in self._distinct_texts if text_test(text, operand)]
        else:
            passes = VALUE_TESTS[test]
            hits = [code for code, value in enumerate(self.distinct) if passes(value, False, operand)]
        if len(hits) == 0:
            return self._nothing()
        if len(hits) == 1:
            return _bools(self.values == self.values.dtype.type(hits[0]))
        chosen = np.zeros(len(self.distinct), np.bool_)
        chosen[hits] = True
        return _bools(chosen[self.values])

    def _codes_of(self, operand: Scalar) -> list[int]:
        if isinstance(operand, Moment):
            return [code for code, at in self._distinct_moments if at == operand.microseconds]
        code = self._codes.get(key_of(operand))
        return [] if code is None else [code]

    @lazy_property
    def _codes(self) -> dict[Any, int]:
        return {key_of(value): code for code, value in enumerate(self.distinct)}

    @lazy_property
    def _distinct_texts(self) -> list[tuple[int, str]]:
        return [(code, value) for code, value in enumerate(self.distinct) if isinstance(value, str)]

    @lazy_property
    def _distinct_moments(self) -> list[tuple[int, int]]:
        """Codes of ISO texts, and their microseconds."""
        read = ((code, Moment.read(text)) for code, text in self._distinct_texts)
        return [(code, at.microseconds) for code, at in read if at is not None]

    def _text(self, test: str, operand: Any) -> tuple[NDArray[np.bool_] | None, bool]:
        operands = operand if test == "in" else (operand,)
        moments = [one.microseconds for one in operands if isinstance(one, Moment)]
        if test in ("eq", "in"):
            hashes = [text_hash(one) for one in operands if isinstance(one, str)]
            found = np.isin(self.values, np.array(hashes, np.uint32)) if hashes else self._nothing()
            if moments and self.moments is None:
                return None, False
            if moments and self.moments is not None:
                found |= np.isin(self.moments, moments)
            return found, not hashes
        if isinstance(operand, Moment) and test in _ORDERS and self.moments is not None:
            return _bools(_ORDERS[test](self.moments, np.int64(operand.microseconds))), True
        if not isinstance(operand, str | Moment):
            return self._nothing(), True
        return None, False


def key_of(value: Any) -> Any:
    """What tells distinct values apart: to Python 1 equals True."""
    return (value,) if isinstance(value, bool) or value is INNER else value


def text_hash(text: str) -> int:
    return zlib.crc32(text.encode())


def _beyond(test: str, operand: int, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    try:
        near = float(operand)
    except OverflowError:
        return np.full(len(values), (test in ("lt", "lte")) == (operand > 0))
    if near == operand:
        return _bools(_ORDERS[test](values, near))
    # No float lies between the two: those above the operand are those from the nearest one above on.
    below = near if near < operand else float(np.nextafter(near, -np.inf))
    return _bools(values > below) if test in ("gt", "gte") else _bools(values <= below)


def _bools(found: Any) -> NDArray[np.bool_]:
    made: NDArray[np.bool_] = found
    return made
