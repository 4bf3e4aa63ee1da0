"""What a binarizer recalls by the number of rows it was trained on, from none up, beside faiss' RaBitQ.

python -m benchmarks.few_rows french docstrings --sizes 52,100,196 --json few.json
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import bebr
from bebr.arrays import normalized
from bebr.exact import exact, recall
from bebr.peers import flat, installed
from benchmarks import datasets, machine, output
from benchmarks.datasets import Floats

K = 10
ROWS = 10_000  # searched; training rows are drawn from them, as those of a collection would be
COUNTS = (0, 3, 20, 100, 300, 1000, 3000)
# What the model may fall short of: the next larger RaBitQ by .01, the model without data by .005 (its gains: `_GAINS`).
_BELOW_PEER, _BELOW_NONE = 0.01, 0.005
_GAINS = {100: 0.02, 1000: 0.09}  # at 52 bytes
_GAINS_AT = 52


@dataclass(frozen=True)
class Row:
    """Recall@10 of float queries, mean over `draws` of training rows, and by how much these differ; `all_rows`: of the
    mean, with every row completed, which shows what the default search loses."""

    dataset: str
    engine: str
    size: int
    trained_on: int
    recall: float
    deviation: float
    all_rows: float
    draws: int


def ours(name: str, base: Floats, queries: Floats, size: int, counts: Sequence[int], draws: int) -> Iterator[Row]:
    """Of one set and size, n by n; draws are nested: the first n rows of one order."""
    truth = exact(base, queries, K, "cosine")
    for n in counts:
        reached, whole = [], []
        for draw in range(draws):
            rows = base[np.random.default_rng(draw).permutation(len(base))[:n]]
            if n:
                model = bebr.train(rows, bytes_per_vector=size, seed=draw)
            else:
                model = bebr.untrained(base.shape[1], size, seed=draw)
            index = bebr.FlatIndex(model)
            index.add(base)
            reached.append(recall(index.search(queries, K).ids, truth))
            whole.append(recall(index.search(queries, K, exact=True).ids, truth))
        yield Row(name, "bebr", size, n, float(np.mean(reached)), float(np.std(reached)), float(np.mean(whole)), draws)


def rabitq(name: str, base: Floats, queries: Floats) -> Iterator[Row]:
    """faiss' RaBitQ of every size, its rows around 0 and around their mean."""
    truth = exact(base, queries, K, "cosine")
    unit = normalized(base)
    # It takes the mean of what it is trained on for its centroid; rows with their mirror images have 0.
    for kind, train in (("without centroid", np.concatenate([unit, -unit])), ("around the mean", unit)):
        for peer in flat(base.shape[1], "cosine"):
            if re.fullmatch(r"faiss RaBitQ\d", peer.name):
                peer.fit(train)
                peer.add(unit)
                reached = recall(peer.search(queries, K), truth)
                yield Row(name, f"{peer.name} {kind}", int(peer.bytes_per_vector), 0, reached, 0.0, reached, 1)


def missed(rows: Sequence[Row]) -> list[str]:
    """The aims that these rows do not reach, each in words."""
    lines = []
    for none in (row for row in rows if row.engine == "bebr" and row.trained_on == 0):
        same = [row for row in rows if row.dataset == none.dataset]
        larger = [row for row in same if row.engine.endswith("without centroid") and row.size >= none.size]
        if larger and none.recall < (peer := min(larger, key=lambda row: row.size)).recall - _BELOW_PEER:
            other = f"{peer.engine} of {peer.size} bytes: {peer.recall:.4f}"
            lines.append(f"{none.dataset}, {none.size} bytes, untrained: {none.recall:.4f}; {other}")
        before = none
        for row in (row for row in same if row.engine == "bebr" and row.size == none.size and row.trained_on > 0):
            where = f"{row.dataset}, {row.size} bytes, {row.trained_on} rows: {row.recall:.4f}"
            if row.recall < none.recall - _BELOW_NONE:
                lines.append(f"{where}; untrained: {none.recall:.4f}")
            if row.recall < before.recall - _BELOW_NONE:
                lines.append(f"{where}; {before.trained_on} rows: {before.recall:.4f}")
            gain = _GAINS.get(row.trained_on)
            if row.size == _GAINS_AT and gain is not None and row.recall < none.recall + gain:
                lines.append(f"{where}: {row.recall - none.recall:+.4f} to untrained, aim {gain:+.2f}")
            before = row
    return lines


def table(rows: Sequence[Row]) -> Table:
    """One line a set and engine, one column an n."""
    counts = sorted({row.trained_on for row in rows})
    made = Table("data", "engine", "bytes", *(f"n = {n}" for n in counts))
    for key in dict.fromkeys((row.dataset, row.engine, row.size) for row in rows):
        cells = {row.trained_on: row for row in rows if (row.dataset, row.engine, row.size) == key}
        shown = [f"{cells[n].recall:.4f} ±{cells[n].deviation:.4f}" if n in cells else "" for n in counts]
        made.add_row(key[0], key[1], str(key[2]), *shown)
    return made


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Entry of ``python -m benchmarks.few_rows``; exit 1 on a missed aim or a missing set."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_rows", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "datasets", nargs="*", default=["french", "docstrings"], help="cosine sets of benchmarks.datasets"
    )
    parser.add_argument("--sizes", default="52,100,196", help="bytes a vector, factor included")
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)), help="training rows; 0: bebr.untrained")
    parser.add_argument("--draws", type=int, default=3, help="of training rows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    console = console or output.console()
    counts = [int(n) for n in options.counts.split(",")]
    rows: list[Row] = []
    absent = False
    if installed("faiss-cpu") is None:
        console.print("faiss-cpu is not installed (pip install faiss-cpu): RaBitQ is left out")
    with machine.pinned(options.threads):
        for name in options.datasets:
            data = datasets.load_or_say(name, console.print)
            if data is None:
                absent = True
                continue
            base = data.base[np.sort(np.random.default_rng(0).permutation(len(data.base))[:ROWS])]
            rows += rabitq(name, base, data.queries)
            for size in map(int, options.sizes.split(",")):
                for row in ours(name, base, data.queries, size, counts, options.draws):
                    rows.append(row)
                    console.print(
                        f"{name} {size} B n={row.trained_on}: {row.recall:.4f} ±{row.deviation:.4f}, "
                        f"all rows completed {row.all_rows:.4f}"
                    )
            if options.json:
                output.save(options.json, machine.facts(options.threads), [asdict(row) for row in rows])
    console.print(table(rows))
    lines = missed(rows)
    for line in lines:
        console.print(f"missed: {line}")
    return int(bool(lines) or absent)


if __name__ == "__main__":
    sys.exit(main())
