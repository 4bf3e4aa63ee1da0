"""bebr encode: vectors to code rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bebr.cli.arguments import Column, Limit, Model, Threads, Vectors, use_threads
from bebr.cli.counts import counted

BLOCK_ROWS = 4096


def run(
    model: Model,
    vectors: Vectors,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Code rows: .npy, .bvecs or .parquet.", show_default=False)
    ],
    column: Column = None,
    limit: Limit = None,
    threads: Threads = None,
) -> None:
    """Encode vectors: one uint8 row of bytes_per_vector a vector, its planes and then its factors.

    `Codes.from_bytes` reads the rows back; .parquet holds them in the column `code`.
    """
    import numpy as np

    import bebr
    from bebr.cli.progress import blocks, progress, say
    from bebr.vectors import VectorWriter, check_output, read_vectors

    check_output(output, ".npy", ".bvecs", ".parquet", source=vectors)
    use_threads(threads)
    bz = bebr.Binarizer.load(model)
    x = read_vectors(vectors, column, limit)
    with (
        VectorWriter(output, len(x), bz.bytes_per_vector, np.uint8, column="code") as writer,
        progress("encoding") as report,
    ):
        for start, stop in blocks(len(x), BLOCK_ROWS):
            rows = np.frombuffer(bz.encode(x[start:stop]).to_bytes(), np.uint8)
            writer.append(rows.reshape(-1, bz.bytes_per_vector))
            report("", stop, len(x))
    say(f"{output}: {counted(len(x), 'code')} of {bz.bytes_per_vector} bytes, model {bz.digest}")
