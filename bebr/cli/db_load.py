"""bebr db load: files of vectors, with ids and payloads, into a collection."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli.arguments import Column, Limit
from bebr.cli.place import Name, Place, opened
from bebr.cli.records import Records

if TYPE_CHECKING:
    from bebr.collection.protocol import CollectionLike
    from bebr.vectors import VectorStream

_BATCH_ROWS = 1 << 16
_BATCH_BYTES = 32 << 20  # of float32: a stream or a commit a batch costs little, and the bar moves

# Ids, vectors float32[m, d] and payloads of some rows.
_Batch = tuple[Any, Any, list[dict[str, Any]] | None]


def run(
    place: Place,
    name: Name,
    vectors: Annotated[
        Path,
        typer.Argument(help="Vectors in any format that `train` reads, or a folder of such files.", show_default=False),
    ],
    payloads: Annotated[
        Path | None, typer.Option(help="A payload for each vector, in order: .jsonl or .parquet.")
    ] = None,
    payload_columns: Annotated[
        str | None,
        typer.Option(
            help="Keys that go into the payload, with commas between; without --payloads, columns of VECTORS.",
            show_default="all of --payloads",
        ),
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="Ids: .npy, .ivecs or .parquet of integers.", show_default="row numbers")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column of ids, ints or strings: of --payloads, else of VECTORS.")
    ] = None,
    column: Column = None,
    limit: Limit = None,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Go on after the rows that this load wrote before it was interrupted.")
    ] = False,
) -> None:
    """Write vectors to a collection, with ids and payloads. A row whose id is there already is replaced."""
    from bebr.vectors import stream

    source = stream(vectors, column, limit)
    columns = payload_columns.split(",") if payload_columns is not None else None
    if ids is not None and id_column is not None:
        raise ValueError("got --ids and --id-column, wanted one of them")
    batches = _batches(source, _records(vectors, payloads, columns, id_column, source.rows), ids, id_column)
    with opened(place) as db:
        _write(db.collection(name), batches, source.rows, go_on)


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


def _batches(
    source: VectorStream, records: Records | None, ids: Path | None, id_column: str | None
) -> Iterator[_Batch]:
    import numpy as np

    from bebr.vectors import read_ids

    numbers = np.arange(source.rows) if ids is None else read_ids(ids)
    if len(numbers) < source.rows:
        raise ValueError(f"{ids}: got {len(numbers):,} ids, wanted one for each of the {source.rows:,} vectors")
    size = max(1, min(_BATCH_ROWS, _BATCH_BYTES // (4 * source.dim)))
    remaining = iter(records) if records is not None else None
    with_payloads = records is not None and records.columns != [id_column]
    start = 0
    for x in source.blocks(0, source.rows, size):
        named: Any = numbers[start : start + len(x)]
        rows = None if remaining is None else list(itertools.islice(remaining, len(x)))
        if rows is not None and records is not None and id_column is not None:
            named = [_id(row, id_column, f"{records.path}: row {start + i}") for i, row in enumerate(rows)]
        yield named, x, rows if with_payloads else None
        start += len(x)


def _id(record: dict[str, Any], column: str, where: str) -> Any:
    if column not in record:
        raise ValueError(f"{where} has no '{column}', wanted an id in every row")
    return record.pop(column)


def _write(collection: CollectionLike, batches: Iterator[_Batch], rows: int, go_on: bool) -> None:
    from bebr.cli.progress import progress, say
    from bebr.errors import Error

    done, written, start = 0, 0, time.perf_counter()
    try:
        with progress(f"loading {collection.name}") as report:
            for ids, x, payloads in batches:
                # Batches are written in order: where the last row of one is there, so is all before it.
                if not (go_on and collection.get(ids[-1:], payloads=False)[0] is not None):
                    go_on = False
                    written += collection.upsert(ids, x, payloads)
                done += len(x)
                report("", done, rows)
    except KeyboardInterrupt:
        say(f"the first {done:,} rows are written: the same command with --continue goes on after them")
        raise
    except (ValueError, ConnectionError, TimeoutError, Error) as error:
        where = f"after row {done:,} of {rows:,}, up to which all are written (--continue goes on there)"
        kind = ValueError if isinstance(error, ValueError) else type(error)
        raise kind(f"{where}: {error}" if done else str(error)) from error
    seconds = time.perf_counter() - start
    say(
        f"{collection.name}: {written:,} rows written in {seconds:.1f} s ({written / seconds:,.0f} a second), "
        f"{len(collection):,} in all"
    )
