"""bebr build: vectors to an index file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli.arguments import Column, Limit, Metric, Rescore, Seed, Threads, use_threads
from bebr.cli.counts import counted
from bebr.cli.progress import Report

if TYPE_CHECKING:
    import bebr
    from bebr.arrays import Ids

BLOCK_ROWS = 4096
# A log file gets a line this often, in seconds.
_LINE_EVERY = 60.0
_IVF = ("nlist", "bytes_", "memory", "metric", "optimize", "overwrite", "device")


class Kind(str, Enum):
    flat = "flat"
    ivf = "ivf"
    graph = "graph"


def run(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(help="A binarizer, as `bebr train` writes it; left out with --bytes.", show_default=False),
    ],
    vectors: Annotated[
        Path | None,
        typer.Argument(
            help="Vectors: .npy, .fvecs, .bvecs, .fbin, .u8bin … or .parquet; for ivf also a folder of them.",
            show_default=False,
        ),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="The index file, .bebr.", show_default=False)],
    index: Annotated[
        Kind, typer.Option(help="ivf: vectors need not fit in memory; goes on after a kill. graph: few rows scored.")
    ] = Kind.flat,
    ids: Annotated[
        Path | None,
        typer.Option(help="Integer ids, one a vector: .npy, .ivecs or .parquet.", show_default="row numbers"),
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Parquet column of the ids, of --ids or else VECTORS.")] = None,
    nlist: Annotated[
        int | None, typer.Option(help="ivf: how many lists.", show_default="about 4 times the root of rows")
    ] = None,
    max_degree: Annotated[
        int | None, typer.Option(help="graph: the largest number of links of a row, even.", show_default="32")
    ] = None,
    bytes_: Annotated[
        int | None, typer.Option("--bytes", help="ivf: instead of MODEL, train one of so many bytes a vector.")
    ] = None,
    metric: Annotated[Metric, typer.Option(help="ivf, with --bytes: what a score means.")] = Metric.cosine,
    memory: Annotated[str, typer.Option(help="ivf: memory to work in, beyond 0.1 GB.")] = "4GiB",
    optimize: Annotated[
        bool, typer.Option(help="ivf: optimize the codes; without, encoding is several times as fast.")
    ] = True,
    rescore: Annotated[
        Rescore, typer.Option(help="Keep the vectors too: searches score their best by them.")
    ] = Rescore.none,
    overwrite: Annotated[bool, typer.Option(help="ivf: replace OUTPUT if it is there.")] = False,
    device: Annotated[str, typer.Option(help="ivf: where to encode and to assign: cpu, cuda or cuda:N.")] = "cpu",
    seed: Seed = 0,
    column: Column = None,
    limit: Limit = None,
    threads: Threads = None,
) -> None:
    """Encode vectors into an index and write it to a file: MODEL VECTORS, or VECTORS alone with --bytes."""
    import bebr
    from bebr.vectors import check_output

    check_output(output, ".bebr")
    use_threads(threads)
    if index != Kind.ivf:
        given = [name for name in _IVF if context.get_parameter_source(name).name != "DEFAULT"]  # type: ignore[union-attr]
        if given:
            raise ValueError(f"--{given[0].rstrip('_')} goes with --index ivf")
    if max_degree is not None and index != Kind.graph:
        raise ValueError("--max-degree goes with --index graph")
    if (vectors is None) != (bytes_ is not None):
        raise ValueError(
            "got " + ("MODEL and --bytes" if vectors else "one file") + ", wanted MODEL VECTORS, or VECTORS "
            "with --bytes and --index ivf"
        )
    if vectors is not None and index != Kind.ivf:
        links: dict[str, Any] = {} if max_degree is None else {"max_degree": max_degree}
        make = partial(bebr.FlatIndex if index == Kind.flat else bebr.GraphIndex, rescore=rescore.kind, **links)
        _in_memory(make, model, vectors, output, ids, id_column, column, limit)
        return
    source = model if vectors is None else vectors
    options = {
        "nlist": nlist,
        "bytes_per_vector": bytes_,
        "metric": None if bytes_ is None else metric.value,
        "ids": _ids(source, ids, id_column, limit),
        "rows": limit,
        "column": column,
        "memory": memory,
        "optimize": optimize,
        "rescore": rescore.kind,
        "overwrite": overwrite,
        "device": device,
        "seed": seed,
    }
    _ivf(None if vectors is None else model, source, output, options)


def _in_memory(
    make: Callable[[bebr.Binarizer], bebr.Index],
    model: Path,
    vectors: Path,
    output: Path,
    ids: Path | None,
    id_column: str | None,
    column: str | None,
    limit: int | None,
) -> None:
    import bebr
    from bebr.cli.progress import blocks, progress, say
    from bebr.vectors import read_vectors

    bz = bebr.Binarizer.load(model)
    x = read_vectors(vectors, column, limit)
    names = _ids(vectors, ids, id_column, limit)
    if names is not None and len(names) != len(x):
        raise ValueError(f"{ids or vectors}: got {len(names):,} ids, wanted one for each of the {len(x):,} vectors")
    index = make(bz)
    with progress("building") as report:
        for start, stop in blocks(len(x), BLOCK_ROWS):
            index.add(x[start:stop], None if names is None else names[start:stop])
            report("", stop, len(x))
    index.save(output)
    each = f"{index.bytes_per_vector:.0f} bytes each, {output.stat().st_size:,} bytes in all"
    say(f"{output}: {counted(len(index), 'vector')}, {each}, model {bz.digest}")


def _ivf(model: Path | None, vectors: Path, output: Path, options: dict[str, Any]) -> None:
    import bebr
    from bebr.cli.progress import say

    bz = None if model is None else bebr.Binarizer.load(model)
    with _paced() as report:
        index = bebr.build(vectors, output, binarizer=bz, progress=report, **options)
    each = f"{index.bytes_per_vector:.0f} bytes each, {output.stat().st_size:,} bytes in all"
    rows = f"{counted(len(index), 'vector')} in {counted(index.nlist, 'list')}"
    say(f"{output}: {rows}, {each}, model {index.binarizer.digest}")


def _ids(vectors: Path, ids: Path | None, id_column: str | None, limit: int | None) -> Ids | None:
    import numpy as np

    from bebr.vectors import read_ids

    if ids is None and id_column is None:
        return None
    source = vectors if ids is None else ids
    if source.suffix == ".npy" and id_column is None:
        read_ids(source, None, 1)  # refuses what it would refuse
        mapped: Any = np.load(source, mmap_mode="r")
        return mapped.reshape(-1)[:limit]  # type: ignore[no-any-return]
    return read_ids(source, id_column, limit)


@contextmanager
def _paced() -> Iterator[Report]:
    """Progress with the rate: on a terminal a bar, in a log file a line a minute and one for every stage."""
    import sys

    from bebr.cli.progress import progress, say

    with progress("building") as bar:
        lines = not sys.stderr.isatty()
        stage_now, began, first, told = "", monotonic(), 0, 0.0

        def report(stage: str, done: int, total: int) -> None:
            nonlocal stage_now, began, first, told
            now = monotonic()
            if stage != stage_now:
                stage_now, began, first, told = stage, now, done, float("-inf")
            rate = (done - first) / (now - began) if now > began else 0.0
            bar(f"{stage}, {rate:,.0f}/s" if rate else stage, done, total)
            if lines and now - told > _LINE_EVERY:
                left = f", {rate:,.0f} a second, {(total - done) / rate:,.0f} s left" if rate else ""
                say(f"{stage}: {done:,} of {total:,}{left}")
                told = now

        yield report
