"""Columns as two sections of a segment file, read in place.

`columns` is JSON: what there is of each column and where in `column_data` its arrays lie, each at a multiple of 64.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from bebr.errors import CorruptFile
from bebr.index.files import Sections
from bebr.store.columns.column import DTYPES, Column, Values
from bebr.store.columns.flatten import INNER
from bebr.store.columns.table import Columns

SECTIONS = _SCHEMA, _DATA = "columns", "column_data"
_ALIGN = 64


@contextmanager
def column_sections(columns: Columns, folder: Path) -> Iterator[dict[str, bytes | mmap]]:
    """The sections, by way of a nameless file of ``folder``, for the length of a block."""
    with TemporaryFile(dir=folder) as file:
        listed = []
        for path, column in columns.by_path.items():
            one: dict[str, Any] = {"path": path, "kind": column.kind, "in_list": column.in_list}
            one["distinct"] = [{} if value is INNER else value for value in column.distinct]
            for name, array in (("values", column.values), ("rows", column.rows), ("moments", column.moments)):
                one[name] = None if array is None else _write(file, array)
            listed.append(one)
        schema = {"rows": columns.rows, "complete": columns.complete, "columns": listed}
        sections: dict[str, bytes | mmap] = {_SCHEMA: json.dumps(schema, ensure_ascii=False).encode()}
        if file.tell():
            file.flush()
            sections[_DATA] = mmap(file.fileno(), 0, access=ACCESS_READ)
        yield sections


def _write(file: IO[bytes], array: Values) -> tuple[str, int, int]:
    begin = -file.tell() % _ALIGN + file.tell()
    file.write(b"\0" * (begin - file.tell()))
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    file.write(little.data)
    return little.dtype.str, begin, len(array)


def read_columns(sections: Sections, rows: int, source: str) -> Columns | None:
    """Of a file's sections; None where it has none. CorruptFile if they do not fit ``rows`` or each other."""
    if _SCHEMA not in sections:
        return None
    data = sections.get(_DATA, np.empty(0, np.uint8))
    try:
        schema = json.loads(sections[_SCHEMA].tobytes())
        if schema["rows"] != rows:
            raise ValueError(f"it is of {schema['rows']} rows, the file of {rows}")
        by_path = {str(one["path"]): _column(one, data, rows) for one in schema["columns"]}
        return Columns(rows, by_path, bool(schema["complete"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptFile(f"{source}: section {_SCHEMA!r} cannot be read: {error!r}") from error


def _column(one: dict[str, Any], data: Values, rows: int) -> Column:
    kind = one["kind"]
    at = None if one["rows"] is None else _array(one["rows"], data, ("<u4",))
    values = _array(one["values"], data, DTYPES[kind])
    moments = None if one["moments"] is None else _array(one["moments"], data, ("<i8",))
    count = rows if at is None else len(at)
    if (kind != "unknown" and len(values) != count) or (moments is not None and len(moments) != count):
        raise ValueError(f"column {one['path']!r} has {len(values)} values, not {count}")
    distinct = tuple(INNER if isinstance(value, dict) else value for value in one["distinct"])
    return Column(kind, values, at, one["in_list"], distinct, moments)


def _array(place: list[Any], data: Values, allowed: tuple[str, ...]) -> Values:
    dtype, begin, count = place
    if dtype not in allowed:
        raise ValueError(f"an array of {dtype!r}: want {' or '.join(allowed)}")
    end = begin + count * np.dtype(dtype).itemsize
    if not 0 <= begin <= end <= len(data) or begin % _ALIGN:
        raise ValueError(f"an array at bytes {begin} to {end} of {len(data)}")
    return data[begin:end].view(dtype)
