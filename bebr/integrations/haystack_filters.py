"""Haystack's form of a filter as one of bebr."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from haystack.errors import FilterError

from bebr.collection.filter import F
from bebr.collection.filter_tree import All, Either, Filter


def bebr_filter(given: Mapping[str, Any] | None) -> Filter | None:
    """``given`` over documents, as Haystack writes it; None for none. ``FilterError`` says what is wrong."""
    if not given:
        return None
    if "field" not in given:
        parts = tuple(part for part in map(bebr_filter, _of(given, "conditions")) if part is not None)
        if not parts:
            raise FilterError(f"there are no conditions in {given}")
        match _of(given, "operator"):
            case "AND":
                return All(parts)
            case "OR":
                return Either(parts)
            case "NOT":
                return ~All(parts)
        raise FilterError(f"unknown operator {given['operator']!r}")
    field, operator, value = F(given["field"]), _of(given, "operator"), _of(given, "value")
    match operator:
        case "==":
            return field == value
        case "!=":
            return field != value
        case "in" | "not in":
            if not isinstance(value, list):
                raise FilterError(f"{operator} {value!r}: want a list")
            return field.isin(value) if operator == "in" else ~field.isin(value)
        case ">" | ">=" | "<" | "<=":
            return field.isin([]) if value is None else _ordered(field, operator, value)
    raise FilterError(f"unknown operator {operator!r}")


def _ordered(field: F, operator: str, value: Any) -> Filter:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise FilterError(f"{operator} {value!r}: text has an order only where it is an ISO date") from error
    if isinstance(value, list):
        raise FilterError(f"{operator} {value!r}: want a number or a date")
    return {">": field > value, ">=": field >= value, "<": field < value, "<=": field <= value}[operator]


def _of(given: Mapping[str, Any], key: str) -> Any:
    if key not in given:
        raise FilterError(f"{key!r} is missing in {given}")
    return given[key]
