"""Filtered search: recall and cost of every index as fewer rows are allowed.

    python -m benchmarks.filtered wordnet --model model.safetensors --json results/filtered.json

Each index answers the same queries with a random share of the rows allowed. Recall@k is against exact float search over
the allowed rows; beside it stands the recall without a filter. Cost is the time of a query, filter included, against a
FlatIndex that holds the allowed rows alone: what scanning them would cost had they been materialized beforehand.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from bebr.exact import exact, hits
from benchmarks import datasets, machine, output
from benchmarks.datasets import Floats, Ids

SHARES = (1.0, 0.5, 0.1, 0.01, 0.001)


@dataclass
class Row:
    """One index at one share: microseconds a query, and those of a flat index of the allowed rows alone."""

    index: str
    share: float
    recall: float
    unfiltered: float
    microseconds: float
    materialized: float
    short: int
    """Queries that got fewer than min(k, allowed rows) results: must be 0."""

    @property
    def ratio(self) -> float:
        return self.microseconds / self.materialized


def engines(binarizer: bebr.Binarizer, base: Floats, nlist: int) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Each index filled, and the options of a search that reaches about the same recall in all."""
    flat, ivf, graph = bebr.FlatIndex(binarizer), bebr.IVFIndex(binarizer, nlist=nlist), bebr.GraphIndex(binarizer)
    for index in (flat, ivf, graph):
        index.add(base)
    return {
        "Flat": (flat, {}),
        f"IVF{nlist}": (ivf, {"nprobe": max(1, nlist // 8), "margin": 3.0}),
        "Graph32": (graph, {"ef_search": 64}),
    }


def microseconds(search: Callable[[], Any], queries: int, rounds: int) -> float:
    """The median over rounds, a query."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        search()
        seconds.append(time.perf_counter() - start)
    return 1e6 * statistics.median(seconds) / queries


def measure(data: datasets.Dataset, binarizer: bebr.Binarizer, nlist: int, k: int, rounds: int, seed: int) -> list[Row]:
    """Every index at every share."""
    order = np.random.default_rng(seed).permutation(len(data.base))
    built = engines(binarizer, data.base, nlist)
    codes = binarizer.encode(data.base)
    whole = data.truth(k)
    plain = {
        name: _recall(index.search(data.queries, k, **options).ids, whole) for name, (index, options) in built.items()
    }
    rows = []
    for share in SHARES:
        allowed: Ids | None = None if share == 1 else np.sort(order[: max(1, round(share * len(order)))])
        rest = np.arange(len(data.base)) if allowed is None else allowed
        found = min(k, len(rest))
        truth = rest[exact(data.base[rest], data.queries, found, data.metric)]
        apart = bebr.FlatIndex(binarizer)
        apart.add_codes(codes[rest], rest)

        def scan(apart: bebr.FlatIndex = apart) -> Any:
            return apart.search(data.queries, k)

        alone = microseconds(scan, len(data.queries), rounds)
        for name, (index, options) in built.items():

            def search(index: Any = index, options: dict[str, Any] = options, allow: Ids | None = allowed) -> Any:
                return index.search(data.queries, k, allow=allow, **options)

            ids = search().ids
            short = int(((ids >= 0).sum(axis=1) < found).sum())
            spent = microseconds(search, len(data.queries), rounds)
            rows.append(Row(name, share, _recall(ids, truth), plain[name], spent, alone, short))
    return rows


def _recall(ids: Ids, truth: Ids) -> float:
    return float(hits(ids, truth).mean())


def table(rows: Sequence[Row], title: str) -> Table:
    """One line a row; a recall .01 below the unfiltered one, a cost above 1.2 and a short answer are marked."""
    made = Table(title=title)
    for name in ("index", "allowed", "recall", "unfiltered", "µs/query", "materialized", "times", "short"):
        made.add_column(name, justify="left" if name == "index" else "right")
    for row in rows:
        made.add_row(
            row.index,
            f"{row.share:.1%}",
            f"{row.recall:.4f}{' ✗' if row.recall < row.unfiltered - 0.01 else ''}",
            f"{row.unfiltered:.4f}",
            f"{row.microseconds:.1f}",
            f"{row.materialized:.1f}",
            f"{row.ratio:.2f}{' ✗' if row.ratio > 1.2 else ''}",
            f"{row.short}{' ✗' if row.short else ''}",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.filtered", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("set", nargs="?", default="wordnet", choices=datasets.names())
    parser.add_argument("--model", type=Path, help="a trained model; one of --bytes is trained if absent")
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--nlist", type=int, default=256)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    data = datasets.load(options.set)
    if options.queries < len(data.queries):
        data = datasets.Dataset(
            data.name, data.metric, data.checksum, data.base, data.train, data.queries[: options.queries]
        )
    if options.model is not None:
        binarizer = bebr.Binarizer.load(options.model)
    else:
        binarizer = bebr.train(data.train, bytes_per_vector=options.bytes, metric=data.metric, seed=0)
    with machine.pinned(options.threads):
        rows = measure(data, binarizer, options.nlist, options.k, options.rounds, seed=0)
    title = f"{data.name}, {binarizer.bytes_per_vector} bytes, {options.threads} thread(s), batch"
    output.console().print(table(rows, title))
    if options.json is not None:
        output.save(options.json, machine.facts(options.threads), [asdict(row) for row in rows], set=data.name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
