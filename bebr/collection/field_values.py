"""The values that a payload has at a path, and how one of them meets an operand: what a filter means, in plain Python.

Whatever evaluates filters faster equals this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FIRST = datetime.min.replace(tzinfo=timezone.utc) - _EPOCH
_LAST = datetime.max.replace(tzinfo=timezone.utc) - _EPOCH
_FURTHEST = timedelta(hours=99, minutes=99, seconds=99)  # that a zone may be from UTC
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, order=True)
class Moment:
    """A point in time: microseconds since 1970 in UTC."""

    microseconds: int

    @staticmethod
    def of(value: date) -> Moment:
        """A datetime, or a date, which begins at midnight. Without a time zone: UTC."""
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if value.tzinfo is None:
            value = value.replace(tzinfo=timezone.utc)
        return Moment((value - _EPOCH) // _MICROSECOND)

    @staticmethod
    def read(text: str) -> Moment | None:
        """Of ISO text: a date, perhaps with a time, perhaps with a zone (else UTC). None where it is no such text."""
        found = _ISO.fullmatch(text)
        if found is None:
            return None
        year, month, day, hour, minute, second, fraction, zone = found.groups()
        try:
            at = datetime(
                *(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)),
                int((fraction or "")[:6].ljust(6, "0")),
                timezone.utc,
            )
        except ValueError:
            return None
        offset = 0
        if zone and zone not in "Zz":
            digits = zone[1:].replace(":", "")
            offset = 3600 * int(digits[:2]) + 60 * int(digits[2:4] or 0) + int(digits[4:] or 0)
            offset *= 1 if zone[0] == "+" else -1
        return Moment((at - _EPOCH) // _MICROSECOND - 1_000_000 * offset)

    def __str__(self) -> str:
        at, zone = timedelta(microseconds=self.microseconds), "Z"
        if not _FIRST <= at <= _LAST:  # in UTC it is in no year from 1 to 9999; in a zone far from it, it is
            at, zone = (at + _FURTHEST, "+99:99:99") if at < _FIRST else (at - _FURTHEST, "-99:99:99")
        return (_EPOCH + at).isoformat().replace("+00:00", zone)


Scalar = bool | int | float | str | Moment
"""An operand."""


def values_at(payload: Mapping[str, Any] | None, path: Sequence[str]) -> Iterator[tuple[Any, bool]]:
    """The values of a payload at a path, and whether each is an element of a list.

    A list counts as its elements, at the end of the path and on the way. null is no value.
    """
    node: Any = payload
    for depth, key in enumerate(path):
        if isinstance(node, list):
            for element in node:
                if isinstance(element, dict):
                    yield from values_at(element, path[depth:])
            return
        if not isinstance(node, dict) or key not in node:
            return
        node = node[key]
    for element in node if isinstance(node, list) else (node,):
        if element is not None:
            yield element, isinstance(node, list)


def is_number(value: Any) -> bool:
    """bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def comparable(value: Any, operand: Scalar) -> Any:
    """``value`` as what ``operand`` is compared with; None where the two are of different types."""
    if isinstance(operand, Moment):
        return Moment.read(value) if isinstance(value, str) else None
    if isinstance(operand, bool):
        return value if isinstance(value, bool) else None
    if isinstance(operand, str):
        return value if isinstance(value, str) else None
    return value if is_number(value) else None


def _equal(value: Any, operand: Scalar) -> bool:
    return bool(comparable(value, operand) == operand)


def _ordered(order: Callable[[Any, Any], bool]) -> Callable[[Any, bool, Scalar], bool]:
    def test(value: Any, in_list: bool, operand: Scalar) -> bool:
        found = comparable(value, operand)
        return found is not None and order(found, operand)

    return test


def _contains(value: Any, in_list: bool, operand: Scalar) -> bool:
    if in_list:
        return _equal(value, operand)
    return isinstance(value, str) and isinstance(operand, str) and operand in value


VALUE_TESTS: dict[str, Callable[[Any, bool, Any], bool]] = {
    "exists": lambda value, in_list, operand: True,
    "eq": lambda value, in_list, operand: _equal(value, operand),
    "in": lambda value, in_list, operand: any(_equal(value, one) for one in operand),
    "gt": _ordered(lambda a, b: a > b),
    "gte": _ordered(lambda a, b: a >= b),
    "lt": _ordered(lambda a, b: a < b),
    "lte": _ordered(lambda a, b: a <= b),
    "contains": _contains,
}
"""Operators that hold where they hold of one value: test(value, whether it is an element of a list, operand)."""
