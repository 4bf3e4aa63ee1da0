"""Filters from dicts and from JSON, and the checks of what callers hand in.

{"lang": "de", "year": {"gte": 2000, "lt": 2010}, "$or": [{"tags": {"contains": "x"}}, {"draft": {"exists": False}}]}
"""

from __future__ import annotations

import json
import marshal
import math
from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from numbers import Integral, Real
from typing import Any
from uuid import UUID

import numpy as np

from bebr.collection.field_values import VALUE_TESTS, Moment, Scalar
from bebr.collection.filter_tree import OPPOSITES, All, Condition, Either, Filter, Not

Operand = bool | int | float | str | date | np.datetime64 | UUID
FilterLike = Filter | Mapping[str, Any]

MOST_DEPTH = 64
"""Levels of $and, $or and $not."""
MOST_BYTES = 1 << 20
"""Of a filter as JSON."""
MOST_KEPT_TEXT = 4096
"""Of a filter that is kept for searches that come with it again."""

_OPERATORS = (*VALUE_TESTS, *OPPOSITES)
_DATE = "$date"


def as_filter(given: FilterLike, name: str = "filter") -> Filter:
    """``given`` as a filter. ``ValueError`` names the place in it, what was got and what was wanted."""
    if isinstance(given, Filter):
        made = given
    elif isinstance(given, Mapping):
        made = _read(given, name, 1)
    else:
        raise ValueError(f"{name} is {_shown(given)}: want a dict, or a condition such as bebr.F('year') >= 2000")
    try:
        depth, size = made.depth, len(_encoded(made.text, name))
    except RecursionError:
        depth, size = MOST_DEPTH + 1, 0
    if depth > MOST_DEPTH:
        raise ValueError(f"{name} is nested more than {MOST_DEPTH} levels deep: want a flatter one")
    if size > MOST_BYTES:
        raise ValueError(f"{name} has {size} bytes as JSON: want at most {MOST_BYTES}")
    return made


def known_filter(given: Mapping[str, Any]) -> Filter | None:
    """What `as_filter` makes of a dict, the same object for the same dict where it is kept; None: `as_filter` has to
    look at it."""
    value: Any = given
    try:
        data = marshal.dumps(value)
        return _filter_of(data) if len(data) <= MOST_KEPT_TEXT else None
    except ValueError:  # holds what marshal cannot write, or is no filter: the check has words for it
        return None


@lru_cache(256)
def _filter_of(data: bytes) -> Filter:
    """To read a small dict takes ten times as long as to write it by marshal. That keeps types apart: 1, 1.0 and True
    are three filters. What it takes for bytes, numpy's scalars say, `as_filter` refuses."""
    return as_filter(marshal.loads(data))


def filter_of_text(text: str) -> Filter:
    """A filter from JSON, as `Filter.text` writes it. ``ValueError`` as `as_filter`."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"filter has {len(text)} characters of JSON: want at most {MOST_BYTES} bytes")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"filter is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"filter is a JSON {type(given).__name__}: want an object")
    return as_filter(given)


def check_path(path: str, name: str = "path") -> tuple[str, ...]:
    """The keys of a dotted path. ``ValueError`` unless it is text with something between its dots."""
    if not isinstance(path, str) or path.startswith("$") or not all(keys := tuple(path.split("."))):
        raise ValueError(
            f"{name}: {_shown(path)} is no field: want a name such as 'lang', or 'meta.lang' for one inside another"
        )
    _encoded(path, name)
    return keys


def condition(path: tuple[str, ...], operator: str, operand: Any, name: str | None = None) -> Filter:
    """What ``operator``, as in a dict, asks of the field ``path``."""
    where = f"{name or '.'.join(path)}.{operator}"
    if operator == "exists":
        if not isinstance(operand, bool | np.bool_):
            raise ValueError(f"{where} is {_shown(operand)}: want True or False")
        exists = Condition(path, "exists", None)
        return exists if operand else Not(exists)
    test = OPPOSITES.get(operator, operator)
    if test == "eq" and operand is None:
        found: Filter = Not(Condition(path, "exists", None))
    elif test == "in":
        found = Condition(path, test, _operands(operand, where))
    else:
        found = Condition(path, test, _operand(operand, where, ordered=test in ("gt", "gte", "lt", "lte")))
    return ~found if operator in OPPOSITES else found


def _read(given: Mapping[str, Any], name: str, depth: int) -> Filter:
    if depth > MOST_DEPTH:
        raise ValueError(f"{name} is nested more than {MOST_DEPTH} levels deep: want a flatter one")
    parts: list[Filter] = []
    for key, value in given.items():
        if key in ("$and", "$or"):
            where = f"{name}.{key}"
            if not isinstance(value, list | tuple) or not value:
                raise ValueError(f"{where} is {_shown(value)}: want a list of at least one filter")
            inner = tuple(_read(_dict(one, f"{where}[{i}]"), f"{where}[{i}]", depth + 1) for i, one in enumerate(value))
            parts.append(All(inner) if key == "$and" else Either(inner))
        elif key == "$not":
            parts.append(~_read(_dict(value, f"{name}.$not"), f"{name}.$not", depth + 1))
        elif isinstance(key, str) and key.startswith("$"):
            raise ValueError(f"{name}.{key}: want the name of a field, or $and, $or, $not")
        else:
            parts += _conditions(check_path(key, name), value, f"{name}.{key}")
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _conditions(path: tuple[str, ...], value: Any, name: str) -> list[Filter]:
    if not isinstance(value, Mapping) or _DATE in value:
        if isinstance(value, list | tuple):
            raise ValueError(f'{name} is a list: want {{"in": [...]}} for any of them, or {{"contains": x}}')
        return [condition(path, "eq", value, name)]
    if not value:
        raise ValueError(f"{name} is {{}}: want at least one of {', '.join(_OPERATORS)}")
    for operator in value:
        if operator not in _OPERATORS:
            raise ValueError(f"{name} has the operator {_shown(operator)}: want one of {', '.join(_OPERATORS)}")
    return [condition(path, operator, operand, name) for operator, operand in value.items()]


def _dict(value: Any, name: str) -> Mapping[str, Any]:
    if isinstance(value, Filter):
        return value.to_dict()
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {_shown(value)}: want a dict")
    return value


def _operands(values: Any, name: str) -> tuple[Scalar, ...]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{name} is {_shown(values)}: want a list")
    return tuple(_operand(value, f"{name}[{i}]") for i, value in enumerate(values))


def _operand(value: Any, name: str, ordered: bool = False) -> Scalar:
    made: Scalar
    match value:
        case bool() | np.bool_():
            if ordered:
                raise ValueError(f"{name} is {value}: want a number, text, or a datetime: neither bool is the greater")
            made = bool(value)
        case str():
            _encoded(value, name)
            made = str(value)
        case Integral():
            made = int(value)
        case Real() if math.isfinite(float(value)):
            made = float(value)
        case UUID():
            made = str(value)  # as payloads have it
        case date() if value == value:  # pandas' NaT, which is a date, does not equal itself
            made = Moment.of(value)
        case np.datetime64() if isinstance(at := value.astype("datetime64[us]").item(), date):
            made = Moment.of(at)
        case Mapping() if set(value) == {_DATE}:
            read = Moment.read(value[_DATE]) if isinstance(value[_DATE], str) else None
            if read is None:
                raise ValueError(f"{name} is {_shown(value)}: want an ISO date or time as {_DATE}")
            made = read
        case _:
            raise ValueError(f"{name} is {_shown(value)}: want a bool, a finite number, text, a datetime or a date")
    return made


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # a lone surrogate is text to Python, but not to gRPC
        raise ValueError(f"{name} cannot be written as UTF-8: {error}") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
