"""bebr db load: files of vectors, with ids and payloads, into a collection."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bebr.cli.arguments import Column, Limit
from bebr.cli.batches import Batch, read_batches
from bebr.cli.counts import counted
from bebr.cli.place import Name, Place, opened

if TYPE_CHECKING:
    from bebr.collection.protocol import CollectionLike


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
    batches = read_batches(source, vectors, payloads, columns, ids, id_column)
    with opened(place) as db:
        _write(db.collection(name), batches, source.rows, go_on)


def _write(collection: CollectionLike, batches: Iterator[Batch], rows: int, go_on: bool) -> None:
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
        f"{collection.name}: {counted(written, 'row')} written in {seconds:.1f} s ({written / seconds:,.0f} a second), "
        f"{len(collection):,} in all"
    )
