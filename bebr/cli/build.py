"""bebr build: vectors to an index file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bebr.cli.arguments import Column, Limit, Model, Threads, Vectors, use_threads

BLOCK_ROWS = 4096


def run(
    model: Model,
    vectors: Vectors,
    output: Annotated[Path, typer.Option("-o", "--output", help="The index file, .bebr.", show_default=False)],
    ids: Annotated[
        Path | None, typer.Option(help="Integer ids, one a vector: .npy, .ivecs or .parquet. [default: row numbers]")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Parquet column of the ids, of --ids or else VECTORS.")] = None,
    column: Column = None,
    limit: Limit = None,
    threads: Threads = None,
) -> None:
    """Encode vectors into a flat index and write it to a file."""
    import bebr
    from bebr.cli.progress import blocks, progress, say
    from bebr.vectors import check_output, read_ids, read_vectors

    check_output(output, ".bebr")
    use_threads(threads)
    bz = bebr.Binarizer.load(model)
    x = read_vectors(vectors, column, limit)
    names = None
    if ids is not None or id_column is not None:
        source = vectors if ids is None else ids
        names = read_ids(source, id_column, limit)
        if len(names) != len(x):
            raise ValueError(f"{source}: got {len(names):,} ids, wanted one for each of the {len(x):,} vectors")
    index = bebr.FlatIndex(bz)
    with progress("building") as report:
        for start, stop in blocks(len(x), BLOCK_ROWS):
            index.add(x[start:stop], None if names is None else names[start:stop])
            report("", stop, len(x))
    index.save(output)
    size = output.stat().st_size
    say(f"{output}: {len(index):,} vectors, {bz.bytes_per_vector} bytes each, {size:,} bytes in all, model {bz.digest}")
