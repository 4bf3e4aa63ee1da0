"""Filters over payloads: which rows a search, a count or a delete is about.

>>> F("year") >= 2000
Filter({'year': {'gte': 2000}})
>>> (F("lang") == "de") & ~F("tags").contains("draft")
Filter({'$and': [{'lang': {'eq': 'de'}}, {'$not': {'tags': {'contains': 'draft'}}}]})

What they mean, where users of Qdrant and MongoDB may expect something else:

* A path with dots leads into nested objects: ``"meta.lang"``. A key that itself has a dot in it is not reached.
* A list has its elements as values, and a condition holds if it holds of any of them (as in both). A list of objects
  on the way is looked into the same way.
* null is no value: a field that is missing, null or ``[]`` has none (Qdrant's ``is_empty``; MongoDB's ``$exists`` is
  true of null and ``[]``). Without a value nothing holds but ``exists: False``, ``ne``, ``nin`` and a ``$not``:
  ``ne`` and ``nin`` are the opposites of ``eq`` and ``in``, so of a list they ask that no element equals.
* Types do not mix: a bool is no number, "1" is not 1, and nothing of one type is less than something of another.
  1 and 1.0 are equal.
* Text is compared by code points. A ``datetime`` or ``date`` is compared with text that is an ISO date or time, as
  points in time (UTC where there is no zone), a UUID with its text.
* ``contains`` asks of a list whether an element equals, and of text whether it has the operand inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bebr.collection.filter_form import Operand, check_path, condition
from bebr.collection.filter_tree import Filter


class F:
    """The payload field at ``path``. Comparing it makes a `Filter`: ``F("year") >= 2000``.

    ``F("a") == None`` holds where there is no value. ValueError for an operand of another kind than a bool, a finite
    number, text, a UUID, a datetime or a date.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, path: str) -> None:
        self._path = check_path(path)

    def __eq__(self, operand: Operand | None) -> Filter:  # type: ignore[override]
        return self._condition("eq", operand)

    def __ne__(self, operand: Operand | None) -> Filter:  # type: ignore[override]
        return self._condition("ne", operand)

    def __gt__(self, operand: Operand) -> Filter:
        return self._condition("gt", operand)

    def __ge__(self, operand: Operand) -> Filter:
        return self._condition("gte", operand)

    def __lt__(self, operand: Operand) -> Filter:
        return self._condition("lt", operand)

    def __le__(self, operand: Operand) -> Filter:
        return self._condition("lte", operand)

    def isin(self, operands: Iterable[Operand]) -> Filter:
        """Matches if a value equals one of these; an empty list matches no row. ``~F("a").isin(...)`` is "nin"."""
        return self._condition("in", operands)

    def exists(self, wanted: bool = True) -> Filter:
        """Matches if the field has a value: it exists and is neither null nor ``[]``."""
        return self._condition("exists", wanted)

    def contains(self, operand: Operand) -> Filter:
        """Matches a list with an element equal to ``operand``, or a text that contains it."""
        return self._condition("contains", operand)

    def _condition(self, operator: str, operand: Any) -> Filter:
        return condition(self._path, operator, operand)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is neither true nor false: compare it with something, or ask for exists()")

    def __repr__(self) -> str:
        return f"F({'.'.join(self._path)!r})"
