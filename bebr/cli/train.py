"""bebr train: vectors to a binarizer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bebr.cli.arguments import (
    Architecture,
    Column,
    Limit,
    Metric,
    Seed,
    Threads,
    Vectors,
    numbers,
    use_threads,
)


def run(
    vectors: Vectors,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model file, .safetensors.", show_default=False)],
    bytes_: Annotated[
        int | None,
        typer.Option("--bytes", help="Bytes a vector, factors included.", show_default="52"),
    ] = None,
    widths: Annotated[
        str | None,
        typer.Option(help="Dimensions of each plane instead of --bytes, as 240,112,32.", show_default=False),
    ] = None,
    target_recall: Annotated[
        float | None,
        typer.Option(help="Instead of --bytes: the fewest bytes with this recall@10, as 0.9.", show_default=False),
    ] = None,
    metric: Annotated[Metric, typer.Option(help="What a score means.")] = Metric.cosine,
    architecture: Annotated[Architecture, typer.Option(help="recurrent needs torch.")] = Architecture.linear,
    stage_factor: Annotated[
        bool | None,
        typer.Option(
            "--stage-factor/--no-stage-factor",
            help="A factor of the sign plane's own: fewer rows to complete. By default from 100 bytes on.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    column: Column = None,
    limit: Limit = None,
    threads: Threads = None,
) -> None:
    """Train a binarizer on vectors and write it to a .safetensors file."""
    from bebr.cli.progress import progress, say
    from bebr.training import train
    from bebr.vectors import check_output, read_vectors

    check_output(output, ".safetensors")
    given = [
        option
        for option, value in (("--bytes", bytes_), ("--widths", widths), ("--target-recall", target_recall))
        if value is not None
    ]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)}: got {len(given)}, wanted one of them")
    use_threads(threads)
    x = read_vectors(vectors, column, limit)
    with progress("training") as report:
        bz = train(
            x,
            bytes_per_vector=bytes_ if given else 52,
            widths=None if widths is None else numbers(widths, "--widths"),
            target_recall=target_recall,
            metric=metric.value,
            architecture=architecture.value,
            stage_factor=stage_factor,
            seed=seed,
            progress=report,
        )
    bz.save(output)
    widths_ = ",".join(map(str, bz.widths))
    size = f"{bz.input_dim} dims to {bz.bytes_per_vector} bytes a vector"
    say(f"{output}: {size}, widths {widths_}, {bz.metric}, model {bz.digest}")
