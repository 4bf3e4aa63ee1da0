"""The walk of a graph alone: one saved graph, searched by two builds in turns.

    BEBR_ISA=avx2 python -m benchmarks.walk --before OTHER/.venv/bin/python --bytes 196 --folder walk wordnet

Both sides open the same file, with one thread each, and are asked case by case: all queries in one call ("batch"), and
a hundred one by one ("single"), at every ``--ef``. Printed: recall@10, queries a second of processor time in the
fastest calls of all rounds, and the ratio's median over the rounds, after / before. Answers must be equal to the bit.
Without ``--before`` one build is timed alone. ``--folder`` keeps model and graph for the next run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

import bebr
from benchmarks import datasets, machine, output
from benchmarks.before_after import Side

EF = (16, 24, 32, 48, 64, 100)
WORKER = "walk_worker.py"


@dataclass(frozen=True)
class Row:
    """Queries a second of one case; ``ratio``: after / before, the median of the rounds."""

    case: str
    recall: float
    before: float | None
    after: float
    ratio: float | None
    equal: bool


def prepare(data: datasets.Dataset, size: int, folder: Path, efs: Sequence[int]) -> dict[int, float]:
    """Leave the graph and the queries in ``folder`` where they are not there yet; recall by ``ef_search``."""
    path = folder / "graph.bebr"
    if not path.is_file():
        index = bebr.GraphIndex(bebr.train(data.train, bytes_per_vector=size, metric=data.metric, seed=0))
        index.add(data.base)
        index.save(path)
    np.save(folder / "queries.npy", data.queries)
    (folder / "ef.json").write_text(json.dumps(list(efs)))
    graph = bebr.open_index(path)
    return {ef: data.recall(graph.search(data.queries, 10, ef_search=ef).ids) for ef in efs}


def compare(sides: Sequence[Side], recalls: dict[int, float], rounds: int) -> list[Row]:
    """Every case in turns: the last side is this build, one before it the other."""
    taken: dict[str, list[list[float]]] = {name: [] for name in sides[-1].digests}
    for turn in range(rounds):
        for name, seconds in taken.items():
            order = range(len(sides)) if turn % 2 == 0 else range(len(sides) - 1, -1, -1)
            now = {side: sides[side].seconds(name) for side in order}
            seconds.append([now[side] for side in range(len(sides))])
    rows = []
    for name, seconds in taken.items():
        fastest = [min(side) for side in zip(*seconds, strict=True)]
        other = len(sides) == 2
        rows.append(
            Row(
                name,
                recalls[int(name.split()[1])],
                1 / fastest[0] if other else None,
                1 / fastest[-1],
                statistics.median(pair[0] / pair[1] for pair in seconds) if other else None,
                sides[0].digests[name] == sides[-1].digests[name],
            )
        )
    return rows


def table(rows: Sequence[Row]) -> Table:
    made = Table(title="queries a second of processor time")
    for column in ("case", "recall", "before", "after", "ratio", "answers"):
        made.add_column(column, justify="left" if column in ("case", "answers") else "right")
    for row in rows:
        made.add_row(
            row.case,
            f"{row.recall:.4f}",
            "" if row.before is None else f"{row.before:,.0f}",
            f"{row.after:,.0f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "equal" if row.equal else "differ ✗",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walk", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", nargs="?", default="glove", choices=datasets.names(), metavar="SET")
    parser.add_argument("--before", type=Path, help="the other checkout's interpreter")
    parser.add_argument("--bytes", type=int, default=196, help="of a code")
    parser.add_argument("--ef", type=int, nargs="*", default=list(EF))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where model and graph are kept")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    console = output.console()
    data = datasets.load_or_say(options.dataset, console.print)
    if data is None:
        return 1
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        recalls = prepare(data, options.bytes, folder, options.ef)
        pythons = [options.before] if options.before else []
        sides = [Side(python, WORKER, folder) for python in (*pythons, Path(sys.executable))]
        rows = compare(sides, recalls, options.rounds)
        for side in sides:
            side.close()
    console.print(table(rows))
    if options.json is not None:
        output.save(options.json, machine.facts(1), [vars(row) for row in rows])
    return 0 if all(row.equal for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
