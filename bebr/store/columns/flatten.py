"""Payloads taken apart into their fields: the values at each path, as `bebr.collection.field_values.values_at` has
them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_PATHS = 256
"""Fields of some rows together. A payload with names that are data (user ids) is not to make a column of each."""
MOST_DEPTH = 8
"""Objects in objects whose fields are taken."""


class Inner:
    """Stands for a value that is an object, or a list in a list: it is there, and equals nothing."""

    def __repr__(self) -> str:
        return "INNER"


INNER = Inner()


@dataclass
class Field:
    """Values of one path: the row of each, ascending; whether some are elements of a list, and some not."""

    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    listed: bool = False
    plain: bool = False

    def add(self, row: int, value: Any, in_list: bool) -> None:
        self.rows.append(row)
        self.values.append(value)
        if in_list:
            self.listed = True
        else:
            self.plain = True


class Fields:
    """The fields of payloads. ``complete``: no path is missing."""

    def __init__(self) -> None:
        self.by_path: dict[str, Field] = {}
        self.complete = True

    @staticmethod
    def of(payloads: Iterable[Mapping[str, Any] | None]) -> Fields:
        fields = Fields()
        for row, payload in enumerate(payloads):
            if payload:
                fields._walk(row, payload, "", 1)
        return fields

    def _walk(self, row: int, node: Mapping[str, Any], prefix: str, depth: int) -> None:
        if depth > MOST_DEPTH:
            self.complete = False
            return
        for key, value in node.items():
            if value is None or not key or "." in key:  # such a key is on no path
                continue
            if prefix:
                key = prefix + key
            if isinstance(value, list):
                for element in value:
                    if isinstance(element, dict):
                        self._add(row, key, INNER, True)
                        self._walk(row, element, key + ".", depth + 1)
                    elif isinstance(element, list):
                        self._add(row, key, INNER, True)
                    elif element is not None:
                        self._add(row, key, element, True)
            elif isinstance(value, dict):
                self._add(row, key, INNER, False)
                self._walk(row, value, key + ".", depth + 1)
            else:
                self._add(row, key, value, False)

    def _add(self, row: int, path: str, value: Any, in_list: bool) -> None:
        found = self.by_path.get(path)
        if found is None:
            if len(self.by_path) >= MOST_PATHS:
                self.complete = False
                return
            found = self.by_path[path] = Field()
        found.add(row, value, in_list)
