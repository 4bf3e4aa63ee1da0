"""The walk of a graph alone: one saved graph, searched by two builds in turns, or two graphs by one build.

    BEBR_ISA=avx2 python -m benchmarks.walk --before OTHER/.venv/bin/python --bytes 196 --folder walk wordnet
    python -m benchmarks.walk --inline 32 --bytes 196 --folder walk wordnet

Both sides open the same file, with one thread each, and are asked case by case: all queries in one call ("batch"), and
a hundred one by one ("single"), at every ``--ef``. Printed: recall@10, queries a second of processor time in the
fastest calls of all rounds, and the ratio's median over the rounds, after / before. Two builds are to answer the same
to the bit. ``--inline``: before is the graph without neighbours' bytes in its nodes, after the one with, of the same
codes. Where recalls differ, the ratio is also told against what before would do at after's recall, read between its
cases. Without either, one build is timed alone. ``--folder`` keeps model and graphs for the next run.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.table import Table

import bebr
from benchmarks import datasets, machine, output
from benchmarks.before_after import Side, in_turns

EF = (16, 24, 32, 48, 64, 100)
WORKER = "search_worker.py"


@dataclass(frozen=True)
class Row:
    """Queries a second of one case. ``ratio``: after / before, the median of the rounds; ``at_recall``: after / what
    before does at after's recall, None where no two of its cases lie around that."""

    case: str
    recall_before: float
    recall: float
    before: float | None
    after: float
    ratio: float | None
    at_recall: float | None
    equal: bool


def prepare(data: datasets.Dataset, make: Callable[[], bebr.GraphIndex], folder: Path) -> None:
    """Leave the graph and the queries in ``folder`` where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "graph.bebr"
    if not path.is_file():
        index = make()
        codes = index.binarizer.encode(data.base)
        start = time.process_time()
        index.add_codes(codes, np.arange(len(data.base)))
        built = {"seconds": time.process_time() - start, "bytes": index.bytes_per_vector}
        (folder / "built.json").write_text(json.dumps(built))
        index.save(path)
    np.save(folder / "queries.npy", data.queries)


def recalls_of(data: datasets.Dataset, side: Side) -> dict[int, float]:
    """Recall@10 of a side's batches, by ``ef_search``."""
    found = json.loads(side.digests["found"])
    return {int(name.split()[1]): data.recall(np.array(ids)) for name, ids in found.items()}


def at_recall(cases: Sequence[tuple[float, float]], recall: float) -> float | None:
    """Queries a second at ``recall``, between the two nearest of ``cases`` (recall, queries a second), by logarithms
    of both the speed and the share that is missed."""
    known = sorted(cases)
    for (low, slow), (high, fast) in pairwise(known):
        if low <= recall <= high and low < high < 1:
            part = math.log((1 - low) / (1 - recall)) / math.log((1 - low) / (1 - high))
            return math.exp(math.log(slow) + part * (math.log(fast) - math.log(slow)))
    return None


def compare(sides: Sequence[Side], recalls: Sequence[dict[int, float]], rounds: int) -> list[Row]:
    """Every case in turns: the last side is this build, one before it the other. recalls: of each side."""
    taken = in_turns(sides, [name for name in sides[-1].digests if name not in ("found", "pages")], rounds)
    other = len(sides) == 2
    fastest = {name: [min(side) for side in zip(*seconds, strict=True)] for name, seconds in taken.items()}
    curves: dict[str, list[tuple[float, float]]] = {}  # of the first side
    for name, best in fastest.items():
        way, ef = name.split()
        curves.setdefault(way, []).append((recalls[0][int(ef)], 1 / best[0]))
    rows = []
    for name, seconds in taken.items():
        way, ef = name.split()
        recall, best = recalls[-1][int(ef)], fastest[name]
        level = at_recall(curves[way], recall) if other else None
        rows.append(
            Row(
                name,
                recalls[0][int(ef)],
                recall,
                1 / best[0] if other else None,
                1 / best[-1],
                statistics.median(pair[0] / pair[1] for pair in seconds) if other else None,
                None if level is None else 1 / best[-1] / level,
                sides[0].digests[name] == sides[-1].digests[name],
            )
        )
    return rows


def table(rows: Sequence[Row]) -> Table:
    made = Table(title="queries a second of processor time")
    for column in ("case", "recall", "before", "after", "ratio", "at recall", "answers"):
        made.add_column(column, justify="left" if column in ("case", "answers") else "right")
    for row in rows:
        same = row.recall_before == row.recall
        made.add_row(
            row.case,
            f"{row.recall:.4f}" if same else f"{row.recall_before:.4f} {row.recall:.4f}",
            "" if row.before is None else f"{row.before:,.0f}",
            f"{row.after:,.0f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if row.at_recall is None else f"{row.at_recall:.2f}",
            "equal" if row.equal else "differ ✗",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walk", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", nargs="?", default="glove", choices=datasets.names(), metavar="SET")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--before", type=Path, help="the other checkout's interpreter")
    other.add_argument("--inline", type=int, help="of the other graph: bytes of a neighbour's code in a node")
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
        here = Path(sys.executable)

        def plain() -> bebr.GraphIndex:
            return bebr.GraphIndex(bebr.train(data.train, bytes_per_vector=options.bytes, metric=data.metric, seed=0))

        def inlined() -> bebr.GraphIndex:
            return bebr.GraphIndex(bebr.open_index(folder / "graph.bebr").binarizer, inline=options.inline)

        prepare(data, plain, folder)
        asked = [(options.before, folder)] if options.before else []
        asked.append((here, folder))
        if options.inline:
            asked.append((here, folder / f"inline-{options.inline}"))
            prepare(data, inlined, asked[-1][1])
        how = "memory", "ef_search", json.dumps(options.ef)
        sides = [Side(python, WORKER, graph / "graph.bebr", graph / "queries.npy", *how) for python, graph in asked]
        rows = compare(sides, [recalls_of(data, side) for side in sides], options.rounds)
        for side in sides:
            side.close()
        built = [json.loads(path.read_text()) for _, graph in asked if (path := graph / "built.json").is_file()]
    console.print(table(rows))
    for one in built:
        console.print(f"a node of {one['bytes']:,.0f} bytes: linked in {one['seconds']:,.1f} s of processor time")
    if options.json is not None:
        output.save(options.json, machine.facts(1), [vars(row) for row in rows])
    return 0 if options.inline or all(row.equal for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
