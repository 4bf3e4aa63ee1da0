"""bebr search: an index file and queries to the nearest ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bebr.cli.arguments import Column, Limit, QueryMode, Threads, use_threads
from bebr.cli.counts import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    import bebr

BLOCK_ROWS = 1024  # queries a call: enough for the batch kernels, few enough for the bar to move
SHOWN_ROWS = 20


def run(
    index: Annotated[Path, typer.Argument(help="An index, as `bebr build` writes it.", show_default=False)],
    queries: Annotated[
        Path, typer.Argument(help="Query vectors, in any format that `build` reads.", show_default=False)
    ],
    k: Annotated[int, typer.Option("-k", help="Hits a query.")] = 10,
    query: Annotated[
        QueryMode, typer.Option(help="float: ADC, better recall. code: SDC, the paper's mode.")
    ] = QueryMode.float,
    oversampling: Annotated[
        int | None,
        typer.Option(
            help="flat: candidates of the first stage, a multiple of k.", show_default="as measured at training"
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="flat: the proven top k, as if all planes were scored.")
    ] = False,
    nprobe: Annotated[
        int | None, typer.Option(help="ivf: how many lists are searched.", show_default="as calibrated, else 16")
    ] = None,
    ef_search: Annotated[
        int | None, typer.Option(help="graph: candidates kept on the walk.", show_default="64")
    ] = None,
    rescore: Annotated[
        int | None, typer.Option(help="Candidates that get exact scores, where the index keeps vectors; 0: none.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Ids as .ivecs or .npy; queries, ids and scores as .parquet."),
    ] = None,
    column: Column = None,
    limit: Limit = None,
    threads: Threads = None,
) -> None:
    """Search an index: ids and scores as a table, or to a file with -o. An id of -1 means that there was none."""
    import numpy as np

    import bebr
    from bebr.cli.progress import blocks, progress, say
    from bebr.vectors import check_output, read_vectors

    if output is not None:
        check_output(output, ".ivecs", ".npy", ".parquet", source=queries)
    if k < 1:
        raise ValueError(f"-k: got {k}, wanted at least 1")
    use_threads(threads)
    ix = bebr.open_index(index)
    options = _options(
        ix, {"oversampling": oversampling, "exact": exact or None, "nprobe": nprobe, "ef_search": ef_search}
    ) | {"rescore": rescore}
    q = read_vectors(queries, column, limit)
    ids = np.empty((len(q), k), np.int64)
    scores = np.empty((len(q), k), np.float32)
    with progress("searching") as report:
        for start, stop in blocks(len(q), BLOCK_ROWS):
            hits = ix.search(q[start:stop], k, query=query.value, **options)
            ids[start:stop], scores[start:stop] = hits.ids, hits.scores
            report("", stop, len(q))
    if output is None:
        _show(ids, scores)
    else:
        _write(output, ids, scores)
        say(f"{output}: {counted(len(q), 'query', 'queries')}, {counted(k, 'hit')} each")


def _options(index: bebr.Index, given: dict[str, Any]) -> dict[str, Any]:
    """Of the options that belong to a kind of index, those given, which must be this one's."""
    import bebr

    flat, ivf, graph = bebr.FlatIndex, bebr.IVFIndex, bebr.GraphIndex
    of = {"oversampling": flat, "exact": flat, "nprobe": ivf, "ef_search": graph}
    kinds: dict[type, str] = {flat: "flat", ivf: "ivf", graph: "graph"}
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if type(index) is not of[name]:
            raise ValueError(
                f"--{name.replace('_', '-')} is for a {kinds[of[name]]} index, this one is {kinds[type(index)]}"
            )
    return options


def _write(output: Path, ids: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
    import numpy as np

    from bebr.vectors import write_columns, write_vectors

    if output.suffix == ".parquet":
        write_columns(output, {"query": np.arange(len(ids)), "ids": ids, "scores": scores})
    else:
        write_vectors(output, ids)


def _show(ids: NDArray[Any], scores: NDArray[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("query", "id (score), best first", title_justify="left")
    for row in range(min(len(ids), SHOWN_ROWS)):
        pairs = zip(ids[row], scores[row], strict=True)
        table.add_row(str(row), "  ".join(f"{i} ({s:.4g})" for i, s in pairs if i >= 0) or "none")
    console = Console()
    if not console.is_terminal:  # rich takes a pipe for 80 columns wide and would fold the lines
        console.width = 1000
    console.print(table)
    if len(ids) > SHOWN_ROWS:
        console.print(f"and {len(ids) - SHOWN_ROWS:,} more queries: write them all with -o hits.parquet")
