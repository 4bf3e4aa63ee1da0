"""bebr tradeoff: which bits do my data need?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bebr.cli.arguments import Column, Limit, Metric, Seed, Vectors, numbers

if TYPE_CHECKING:
    from bebr.tradeoff import Row


def run(
    vectors: Vectors,
    queries: Annotated[
        Path | None, typer.Option(help="Query vectors.", show_default="a tenth of VECTORS, at most 1000, held out")
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Measure every installed peer too: faiss, rabitqlib, usearch, scann.")
    ] = False,
    bytes_: Annotated[
        str, typer.Option("--bytes", help="Budgets in bytes a vector, factors included.")
    ] = "24,52,100,196",
    metric: Annotated[Metric, typer.Option(help="What a score means.")] = Metric.cosine,
    k: Annotated[int, typer.Option("-k", help="The k of recall@k.")] = 10,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for tradeoff.json, .csv and .png; made if absent.")
    ] = Path("tradeoff"),
    threads: Annotated[int, typer.Option(help="Threads of encoding and search.")] = 1,
    seed: Seed = 0,
    column: Column = None,
    limit: Limit = None,
) -> None:
    """Measure recall, bytes and speed over bytes x (dims, planes) x SDC/ADC: a table, JSON, CSV and a picture.

    Planned is the recall that `bebr.plan` predicts from VECTORS alone, with its standard error.
    """
    from bebr.cli.native_output import gathered_stderr
    from bebr.cli.progress import progress, say
    from bebr.tradeoff import split, sweep, write_csv, write_json
    from bebr.vectors import read_vectors

    budgets = numbers(bytes_, "--bytes")
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output}: got a file, wanted a folder")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output}: the folder {output.parent} does not exist")
    x = read_vectors(vectors, column, limit)
    base, q = split(x, seed=seed) if queries is None else (x, read_vectors(queries))
    left_out: list[str] = []
    with progress("trade-off") as report, gathered_stderr() as messages:
        rows = sweep(
            base,
            q,
            bytes=budgets,
            metric=metric.value,
            k=k,
            peers=peers,
            seed=seed,
            threads=threads,
            progress=report,
            left_out=left_out.append,
        )
    _show(rows)
    for line in left_out + messages:
        say(line)
    output.mkdir(exist_ok=True)
    facts = {"vectors": str(vectors), "n": len(base), "d": base.shape[1], "queries": len(q), "metric": metric.value}
    write_json(output / "tradeoff.json", rows, **facts, seed=seed, threads=threads, left_out=left_out)
    write_csv(output / "tradeoff.csv", rows)
    say(f"{output / 'tradeoff.json'} and {output / 'tradeoff.csv'}: {len(rows)} rows")
    title = f"{vectors.name}: {len(base):,} vectors of {base.shape[1]} dims, {metric.value}"
    _draw(output / "tradeoff.png", rows, title)


def _draw(path: Path, rows: Sequence[Row], title: str) -> None:
    from bebr.cli.progress import say

    try:
        from bebr.plot import draw_tradeoff
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "matplotlib":
            raise
        say("no picture: matplotlib is not installed (pip install matplotlib)")
        return
    draw_tradeoff(path, rows, title)
    say(f"{path}: the picture")


def _show(rows: Sequence[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:  # rich takes a pipe for 80 columns wide and would fold the lines
        console.width = 140
    wide = console.width >= 100
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("code", overflow="fold")
    table.add_column("widths", overflow="fold")
    for name in (
        "bytes",
        f"recall@{rows[0].k}",
        "planned",
        "queries/s",
        "ms",
        *(("encode/s", "train s") if wide else ()),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: (row.system != "bebr", row.bytes_per_vector, -row.recall)):
        uniform = len(set(row.widths)) == 1 and len(row.widths) > 1
        mode = {"float": "ADC", "code": "SDC"}.get(row.query, "")
        cells = [
            f"bebr {row.recipe} {mode}" if row.system == "bebr" else row.recipe,
            f"{row.dims}x{len(row.widths)}" if uniform else "+".join(map(str, row.widths)),
            f"{row.bytes_per_vector:g}",
            f"{row.recall:.3f}",
            "" if row.predicted is None else f"{row.predicted:.3f} ± {row.predicted_error:.3f}",
            f"{row.queries_per_second:,.0f}",
            f"{row.latency_ms:.3f}",
        ]
        if wide:
            cells += [f"{row.encode_per_second:,.0f}", f"{row.train_seconds:.1f}"]
        table.add_row(*cells)
    console.print(table)
