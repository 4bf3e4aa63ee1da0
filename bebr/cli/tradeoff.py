"""bebr tradeoff: which bits do my data need?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bebr.cli.arguments import Column, Limit, Metric, Seed, Vectors, command, numbers
from bebr.cli.counts import counted

if TYPE_CHECKING:
    from bebr.tradeoff import Row


def run(
    ctx: typer.Context,
    vectors: Vectors,
    queries: Annotated[
        Path | None, typer.Option(help="Query vectors.", show_default="a tenth of VECTORS, at most 1000, held out")
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Measure every installed peer too: faiss, rabitqlib, usearch, scann.")
    ] = False,
    bytes_: Annotated[
        str | None,
        typer.Option(
            "--bytes",
            help="Budgets in bytes a vector, factors included.",
            show_default="24,52,100,196, those that so many dimensions have",
        ),
    ] = None,
    metric: Annotated[Metric, typer.Option(help="What a score means.")] = Metric.cosine,
    k: Annotated[int, typer.Option("-k", help="The k of recall@k.")] = 10,
    target_recall: Annotated[
        float | None,
        typer.Option(
            help="Recommend the fewest bytes with this recall.",
            show_default="the last bytes that pay: docs/tradeoff.md",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="One page with everything, as report.html.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for tradeoff.json, .csv and .png; made if absent.",
            show_default="tradeoff; none with --html",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of encoding and search.")] = 1,
    seed: Seed = 0,
    column: Column = None,
    limit: Limit = None,
) -> None:
    """Measure recall, bytes and speed over bytes x (dims, planes) x SDC/ADC: a table, and JSON, CSV, a picture, a page.

    Planned is the recall that `bebr.plan` predicts from VECTORS alone, with its standard error.
    """
    from bebr.cli.native_output import gathered_stderr
    from bebr.cli.progress import progress, say
    from bebr.tradeoff import recommend, split, sweep, write_csv, write_html, write_json
    from bebr.vectors import check_output, read_vectors

    budgets = None if bytes_ is None else numbers(bytes_, "--bytes")
    if target_recall is not None and not 0 < target_recall < 1:
        raise ValueError(f"--target-recall: got {target_recall:g}, wanted a number between 0 and 1")
    if html is not None:
        check_output(html, ".html")
    folder = Path("tradeoff") if output is None and html is None else output
    if folder is not None:
        _check_folder(folder)
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
    chosen = recommend(rows, target_recall)
    typer.echo(chosen.sentence)
    for line in left_out + messages:
        say(line)
    facts = {"vectors": str(vectors), "n": len(base), "d": base.shape[1], "queries": len(q), "metric": metric.value}
    facts |= {"held_out": queries is None, "seed": seed, "threads": threads, "left_out": left_out}
    facts |= {"command": command(ctx), "target_recall": target_recall, "libraries": _libraries(rows)}
    if folder is not None:
        folder.mkdir(exist_ok=True)
        write_json(folder / "tradeoff.json", rows, **facts)
        write_csv(folder / "tradeoff.csv", rows)
        say(f"{folder / 'tradeoff.json'} and {folder / 'tradeoff.csv'}: {counted(len(rows), 'row')}")
        title = f"{vectors.name}: {len(base):,} vectors of {base.shape[1]} dims, {metric.value}"
        _draw(folder / "tradeoff.png", rows, title)
    if html is not None:
        write_html(html, rows, **facts)
        say(f"{html}: the page")


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: got a file, wanted a folder")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"{folder}: the folder {folder.parent} does not exist")


def _libraries(rows: Sequence[Row]) -> dict[str, str]:
    """The version of each other library that was measured."""
    if all(row.system == "bebr" for row in rows):
        return {}
    from bebr.peers import versions

    return versions()


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
        cells = [
            row.name,
            row.shape,
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
