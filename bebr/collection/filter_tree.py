"""The tree that a filter is. `bebr.collection.filter` says what filters mean, and makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bebr.collection.field_values import VALUE_TESTS, Moment, Scalar, values_at
from bebr.lazy import lazy_property

_writer = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Filter:
    """An immutable condition on payloads. Made from `F`, from a dict (`as_filter`), or from other filters with ``&``,
    ``|`` and ``~``."""

    def matches(self, payload: Mapping[str, Any] | None) -> bool:
        """Whether one payload matches. Every faster evaluation gives the same result."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The filter as a dict for JSON; `as_filter` is the inverse."""
        raise NotImplementedError

    def under(self, *keys: str) -> Filter:
        """The same asked of the object that payloads have at ``keys``: `F("year") == 1` under "meta" is
        `F("meta.year") == 1`."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """The number of nested levels, 1 for a single condition."""
        return 1

    @lazy_property
    def text(self) -> str:
        """That form as JSON: what goes over the wire, and what identifies the filter."""
        return _writer.encode(self.to_dict())

    def __and__(self, other: Filter) -> Filter:
        return All((*_parts(All, self), *_parts(All, other))) if isinstance(other, Filter) else NotImplemented

    def __or__(self, other: Filter) -> Filter:
        return Either((*_parts(Either, self), *_parts(Either, other))) if isinstance(other, Filter) else NotImplemented

    def __invert__(self) -> Filter:
        return self.part if isinstance(self, Not) else Not(self)

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Filter) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is neither true nor false: join filters by &, | and ~, each in parentheses")

    def __repr__(self) -> str:
        return f"Filter({self.to_dict()!r})"


def _parts(kind: type[All] | type[Either], part: Filter) -> Sequence[Filter]:
    return part.parts if isinstance(part, kind) else (part,)


@dataclass(frozen=True, eq=False, repr=False)
class Condition(Filter):
    """``test``, one of `VALUE_TESTS`, holds of one of the values at ``path``. ``operand``: a tuple for "in", None for
    "exists"."""

    path: tuple[str, ...]
    test: str
    operand: Scalar | tuple[Scalar, ...] | None

    def matches(self, payload: Mapping[str, Any] | None) -> bool:
        test = VALUE_TESTS[self.test]
        return any(test(value, in_list, self.operand) for value, in_list in values_at(payload, self.path))

    def under(self, *keys: str) -> Filter:
        return replace(self, path=(*keys, *self.path))

    def to_dict(self) -> dict[str, Any]:
        return {".".join(self.path): {self.test: _written(self.operand)}}


@dataclass(frozen=True, eq=False, repr=False)
class All(Filter):
    """All of ``parts`` hold; of no parts: every row."""

    parts: tuple[Filter, ...]

    def matches(self, payload: Mapping[str, Any] | None) -> bool:
        return all(part.matches(payload) for part in self.parts)

    def under(self, *keys: str) -> Filter:
        return All(tuple(part.under(*keys) for part in self.parts))

    @property
    def depth(self) -> int:
        return 1 + max((part.depth for part in self.parts), default=0)

    def to_dict(self) -> dict[str, Any]:
        return {"$and": [part.to_dict() for part in self.parts]} if self.parts else {}


@dataclass(frozen=True, eq=False, repr=False)
class Either(Filter):
    """One of ``parts`` holds."""

    parts: tuple[Filter, ...]

    def matches(self, payload: Mapping[str, Any] | None) -> bool:
        return any(part.matches(payload) for part in self.parts)

    def under(self, *keys: str) -> Filter:
        return Either(tuple(part.under(*keys) for part in self.parts))

    @property
    def depth(self) -> int:
        return 1 + max(part.depth for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        return {"$or": [part.to_dict() for part in self.parts]}


OPPOSITES = {"ne": "eq", "nin": "in"}
"""Operators that are another one's opposite."""


@dataclass(frozen=True, eq=False, repr=False)
class Not(Filter):
    """``part`` does not hold."""

    part: Filter

    def matches(self, payload: Mapping[str, Any] | None) -> bool:
        return not self.part.matches(payload)

    def under(self, *keys: str) -> Filter:
        return Not(self.part.under(*keys))

    @property
    def depth(self) -> int:
        return 1 + self.part.depth

    def to_dict(self) -> dict[str, Any]:
        part = self.part
        if isinstance(part, Condition) and part.test == "exists":
            return {".".join(part.path): {"exists": False}}
        for name, test in OPPOSITES.items():
            if isinstance(part, Condition) and part.test == test:
                return {".".join(part.path): {name: _written(part.operand)}}
        return {"$not": part.to_dict()}


def _written(operand: Scalar | tuple[Scalar, ...] | None) -> Any:
    if operand is None:
        return True  # of "exists"
    if isinstance(operand, tuple):
        return [_written(one) for one in operand]
    return {"$date": str(operand)} if isinstance(operand, Moment) else operand
