"""Haystack's form of a filter as one of bebr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from haystack.dataclasses import Document
from haystack.errors import FilterError

from bebr.collection.filter import F
from bebr.collection.filter_tree import All, Either, Filter

# Of a document's own fields, those that its payload has not.
_NO_FIELDS = ("embedding", "score")
_OWN = {field.name for field in fields(Document)}


def bebr_filter(given: Mapping[str, Any] | None) -> Filter | None:
    """``given`` over documents, as Haystack writes it; None for none. ``FilterError`` says what is wrong."""
    try:
        return _filter(given)
    except ValueError as error:
        raise FilterError(str(error)) from error


def _filter(given: Mapping[str, Any] | None) -> Filter | None:
    if not given:
        return None
    if not isinstance(given, Mapping):
        raise FilterError(f"filters is {given!r}: want a dict")
    if "field" not in given:
        conditions = _of(given, "conditions")
        if not isinstance(conditions, list):
            raise FilterError(f"conditions is {conditions!r}: want a list")
        parts = tuple(part for part in map(_filter, conditions) if part is not None)
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
    field, operator, value = _field(given["field"]), _of(given, "operator"), _of(given, "value")
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


def _field(name: Any) -> F:
    """Of a document itself, or of its metadata, with or without ``meta.`` before it, as Haystack reads names."""
    if name in _NO_FIELDS:
        raise FilterError(f"field {name!r}: want one of a document's others, or of its metadata, meta.{name}")
    own = not isinstance(name, str) or not name or name.split(".")[0] in _OWN
    return F(name if own else f"meta.{name}")


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
