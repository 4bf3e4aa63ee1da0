"""bebr plan: how many bytes a vector, and which index, for a recall or a memory."""

from __future__ import annotations

import json
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bebr.cli.arguments import Column, Limit, Metric, QueryMode, Seed, Threads, use_threads

if TYPE_CHECKING:
    from bebr.index import sizes


_KINDS = {"flat": "a flat", "ivf": "an IVF", "graph": "a graph"}


class Kind(str, Enum):
    auto = "auto"
    flat = "flat"
    ivf = "ivf"
    graph = "graph"


def run(
    vectors: Annotated[
        Path | None,
        typer.Argument(
            help="Vectors: .npy, .fvecs, .bvecs, .fbin, .u8bin … or .parquet; or --dim.", show_default=False
        ),
    ] = None,
    target_recall: Annotated[
        float | None, typer.Option(help="The fewest bytes with this recall@k.", show_default="0.9 without --memory")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="The index must fit into so much, as 4GiB.", show_default=False)
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Vectors that will be searched, as 1e8.", show_default="those of VECTORS"),
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="Instead of VECTORS: dimensions. Recall stays unknown.", show_default=False)
    ] = None,
    index: Annotated[Kind, typer.Option(help="auto: flat up to 75,000 rows, ivf above.")] = Kind.auto,
    query: Annotated[QueryMode, typer.Option(help="Whose recall: float, ADC; code, SDC.")] = QueryMode.float,
    metric: Annotated[Metric, typer.Option(help="What a score means.")] = Metric.cosine,
    k: Annotated[int, typer.Option("-k", help="The k of recall@k.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    seed: Seed = 0,
    column: Column = None,
    limit: Limit = None,
    threads: Threads = None,
) -> None:
    """Say how many bytes a vector and which index hold a recall, a memory, or both; nothing is built.

    Recall is predicted from models trained on a sample and searched with held-out vectors: ± is its standard error.
    Exit code 1: no code holds both.
    """
    from bebr.cli.progress import progress
    from bebr.vectors import read_vectors

    if (vectors is None) == (dim is None):
        raise ValueError(f"got {'neither VECTORS nor' if dim is None else 'VECTORS and'} --dim, wanted one of them")
    number = None if rows is None else _number(rows)
    use_threads(threads)
    if vectors is None:
        assert dim is not None
        found = _unseen(dim, number, memory, index, target_recall)
    else:
        x = read_vectors(vectors, column, limit)
        options: dict[str, Any] = {"rows": number, "query": query.value, "metric": metric.value, "k": k, "seed": seed}
        options["index"] = None if index is Kind.auto else index.value
        with progress("planning") as report:
            found = _seen(x, target_recall, memory, {**options, "progress": report})
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        _show(found)
    if not found["holds"]:
        raise typer.Exit(1)


def _seen(x: Any, target: float | None, memory: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The plan as JSON takes it, with "holds": whether it keeps all that was asked for; "wanted": the plan for the
    recall alone, where that is too large."""
    import bebr
    from bebr.index.sizes import parse_size

    room = None if memory is None else parse_size(memory, "--memory")
    if room is not None and target is None:
        return {**bebr.plan(x, memory=room, **options).to_dict(), "memory_limit": room, "holds": True}
    plan = bebr.plan(x, target_recall=0.9 if target is None else target, **options)
    facts = {**plan.to_dict(), "memory_limit": room, "holds": True}
    if room is None or plan.memory <= room:
        return facts
    smaller = bebr.plan(x, memory=room, **options)
    return {**smaller.to_dict(), "memory_limit": room, "holds": False, "wanted": plan.to_dict()}


def _unseen(dim: int, rows: int | None, memory: str | None, index: Kind, target: float | None) -> dict[str, Any]:
    """The same of vectors that nobody has seen: recall is not known."""
    from bebr.arrays import check_dim
    from bebr.index.sizes import index_bytes, largest_code, parse_size, usual_kind
    from bebr.training.linear.widths import FACTOR_BYTES, most_bytes
    from bebr.training.untrained import untrained_widths

    if target is not None:
        raise ValueError("--target-recall: got no VECTORS to predict it from, wanted --memory with --dim and --rows")
    if rows is None or memory is None:
        raise ValueError(f"--dim goes with --rows and --memory: got no {'--rows' if rows is None else '--memory'}")
    room = parse_size(memory, "--memory")
    kind = usual_kind(rows) if index is Kind.auto else cast("sizes.Kind", index.value)
    size = largest_code(kind, rows, check_dim(dim, "--dim"), room, FACTOR_BYTES + 1, most_bytes(dim))
    widths = untrained_widths(dim, size)
    return {
        "widths": list(widths),
        "bytes_per_vector": size,
        "input_dim": dim,
        "rows": rows,
        "index": kind,
        "memory": index_bytes(kind, rows, size, dim),
        "memory_limit": room,
        "holds": True,
    }


def _number(text: str) -> int:
    """Rows of "100000000", "1e8", "100M" or "100,000,000"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)([kmg]?)", re.sub(r"[,_\s]", "", text.lower()))
    number = 0 if found is None else round(float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[found[2]])
    if not 1 <= number <= 10**15:
        raise ValueError(f"--rows: got '{text}', wanted a number from 1 on, as 1e8 or 100M")
    return number


def _show(found: dict[str, Any]) -> None:
    typer.echo(_sentence(found))
    if "wanted" in found:
        wanted = found["wanted"]
        typer.echo(
            f"No code holds both: recall {wanted['target_recall']:g} takes {wanted['bytes_per_vector']} bytes a "
            f"vector, {_size(wanted['memory'])}, and there are {_size(found['memory_limit'])}."
        )
    if len(found.get("trials", ())) > 1:
        _show_trials(found)
    metric = f" --metric {found['metric']}" if "metric" in found else ""
    if "trials" in found:
        typer.echo(f"bebr train VECTORS -o model.safetensors --bytes {found['bytes_per_vector']}{metric}")
        typer.echo(f"bebr build model.safetensors VECTORS -o index.bebr --index {found['index']}")
    else:
        typer.echo(f"bebr.untrained({found['input_dim']}, {found['bytes_per_vector']})  # or trained on the first ones")


def _sentence(found: dict[str, Any]) -> str:
    planes = "+".join(map(str, found["widths"]))
    plain = 4 * found["input_dim"] * found["rows"]
    recall = "recall unknown without vectors"
    if "adc" in found:
        adc, sdc = (f"{found[mode]['recall']:.3f} ± {found[mode]['error']:.3f}" for mode in ("adc", "sdc"))
        recall = f"recall@{found['k']} {adc} of float queries (ADC), {sdc} of coded ones (SDC)"
    return (
        f"{found['bytes_per_vector']} bytes a vector, planes {planes}: {recall}; {found['rows']:,} rows take "
        f"{_size(found['memory'])} in {_KINDS[found['index']]} index, {_size(plain)} as float32."
    )


def _show_trials(found: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from bebr.index.sizes import index_bytes

    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("bytes", f"recall@{found['k']}, ADC", "SDC", f"{found['index']} index"):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in found["trials"]:
        size = trial["bytes_per_vector"]
        table.add_row(
            str(size),
            *(f"{trial[mode]['recall']:.3f} ± {trial[mode]['error']:.3f}" for mode in ("adc", "sdc")),
            _size(index_bytes(found["index"], found["rows"], size, found["input_dim"])),
        )
    Console().print(table)


def _size(count: int) -> str:
    """Bytes as people read them: 12.3 MB."""
    amount, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"
