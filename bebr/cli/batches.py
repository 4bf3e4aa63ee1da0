"""Rows of files in batches: vectors, with ids and payloads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bebr.cli.progress import say
from bebr.cli.records import Records

if TYPE_CHECKING:
    from bebr.vectors import VectorStream

_BATCH_ROWS = 1 << 16
_BATCH_BYTES = 32 << 20  # of float32: a stream or a commit a batch costs little, and the bar moves

# Ids, vectors float32[m, d] and payloads of some rows.
Batch = tuple[Any, Any, list[dict[str, Any]] | None]


def read_batches(
    source: VectorStream,
    vectors: Path,
    payloads: Path | None,
    columns: list[str] | None,
    ids: Path | None,
    id_column: str | None,
) -> Iterator[Batch]:
    """The rows of `source`, which reads the file `vectors`. Ids: those of the file `ids`, or of the column `id_column`
    of `payloads`, else of `vectors`, else row numbers; `columns`: of the payloads. ValueError names what is wrong."""
    if ids is not None and id_column is not None:
        raise ValueError("got --ids and --id-column, wanted one of them")
    return _batches(source, _records(vectors, payloads, columns, id_column, source.rows), ids, id_column)


def _records(
    vectors: Path, payloads: Path | None, columns: list[str] | None, id_column: str | None, rows: int
) -> Records | None:
    """What ids and payloads are read from, None where neither is. ValueError unless it has a row for each vector."""
    if payloads is None and columns is None and id_column is None:
        return None
    if payloads is None and vectors.suffix != ".parquet":
        raise ValueError(f"{vectors}: --payload-columns and --id-column need --payloads beside it, or a .parquet file")
    if payloads is None or columns is not None:
        columns = [*(columns or []), *([id_column] if id_column is not None else [])]
    records = Records(payloads or vectors, columns)
    if records.rows < rows:
        raise ValueError(f"{records.path}: got {records.rows:,} rows, wanted one for each of the {rows:,} vectors")
    return records


def _batches(source: VectorStream, records: Records | None, ids: Path | None, id_column: str | None) -> Iterator[Batch]:
    import numpy as np

    from bebr.vectors import read_ids

    numbers = np.arange(source.rows) if ids is None else read_ids(ids)
    if len(numbers) < source.rows:
        raise ValueError(f"{ids}: got {len(numbers):,} ids, wanted one for each of the {source.rows:,} vectors")
    size = max(1, min(_BATCH_ROWS, _BATCH_BYTES // (4 * source.dim)))
    remaining = iter(records) if records is not None else None
    with_payloads = records is not None and records.columns != [id_column]
    unseen = set(records.columns or ()) - {id_column} if records is not None else set()
    start = 0
    for x in source.blocks(0, source.rows, size):
        named: Any = numbers[start : start + len(x)]
        rows = None if remaining is None else list(itertools.islice(remaining, len(x)))
        if unseen and rows:
            unseen.difference_update(*rows)
        if rows is not None and records is not None and id_column is not None:
            named = [_id(row, id_column, f"{records.path}: row {start + i}") for i, row in enumerate(rows)]
        yield named, x, rows if with_payloads else None
        start += len(x)
    if records is not None and unseen:  # misspelt, perhaps; lines of JSON need not have it
        say(f"{records.path}: no row has {', '.join(map(repr, sorted(unseen)))}")


def _id(record: dict[str, Any], column: str, where: str) -> Any:
    if column not in record:
        raise ValueError(f"{where} has no '{column}', wanted an id in every row")
    return record.pop(column)
