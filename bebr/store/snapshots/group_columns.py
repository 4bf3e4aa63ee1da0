"""What hits are grouped by in C++: columns of payload fields whose values are told apart by what they are as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bebr import core
from bebr.collection.filter_tree import Condition, Filter
from bebr.index.segments import filtered_of
from bebr.store.columns.flatten import INNER
from bebr.store.columns.table import Columns, nothing
from bebr.store.snapshots.part import PartView


def with_value(by: str) -> Filter:
    """The rows that have a value at a path."""
    return Condition(tuple(by.split(".")), "exists", None)


def grouped_of(
    engine: core.CollectionSnapshot, views: Sequence[PartView], filter: Filter | None, by: str
) -> core.GroupedSnapshot | None:
    """What groups the rows of the parts of `engine` that match. None where a column does not say what values it has."""
    columns = [group_column(view.part.columns(nothing), by) for view in views]
    known = [column for column in columns if column is not None]
    if len(known) < len(columns):
        return None
    wanted = with_value(by) if filter is None else filter & with_value(by)
    allow = [view.part.matching(wanted) for view in views]
    in_place = [replace(view.view, allow=found) for view, found in zip(views, allow, strict=True)]
    return core.GroupedSnapshot(filtered_of(engine, in_place, 0, allow), known)


def group_column(columns: Columns, path: str) -> core.GroupColumn | None:
    """None where nobody knows the values, or some are numbers with a fraction: to Python 1.0 is 1."""
    column = columns.by_path.get(path)
    if column is None:
        return core.GroupColumn(np.empty(0, np.uint8), [], np.empty(0, np.uint32)) if columns.complete else None
    if column.kind == "int":
        return core.GroupColumn(column.values, [], column.rows)
    if column.kind != "keyword" or any(isinstance(value, float) for value in column.distinct):
        return None
    texts = ["" if value is INNER else json.dumps(value) for value in column.distinct]
    return core.GroupColumn(column.values, texts, column.rows)
