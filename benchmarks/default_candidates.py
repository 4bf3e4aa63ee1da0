"""How many of the best by code a collection scores exactly unless it is told, and what that finds.

    python -m benchmarks.default_candidates glove --bytes 12 24
    python -m benchmarks.default_candidates wordnet --bytes 24 52
    python -m benchmarks.default_candidates glove --metric l2 --bytes 16 --rows 40000 --memory

Of each size of codes a collection that keeps float16 vectors, settled or with its rows in memory. By k: the candidates
that these were measured to want beside 3 k + 20, recall against exact search, and milliseconds of a search of one
query: the median of the queries, each by the least of its rounds, in turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.table import Table

import bebr
from bebr.exact import exact, recall
from bebr.store.database import Database
from bebr.store.search.searching import by_default
from bebr.store.writes.shared import SEAL_ROWS
from benchmarks import datasets, machine, output

ROUNDS, KS = 5, (1, 10, 100)
MOMENT = 2.0  # seconds in which rows in memory are measured in the background


@dataclass(frozen=True)
class Row:
    """One k of one collection; `usual`: with 3 k + 20 candidates."""

    bytes: int
    rows: int
    files: str
    k: int
    candidates: int
    recall: float
    ms: float
    usual: int
    usual_recall: float
    usual_ms: float


def measured(data: datasets.Dataset, size: int, queries: int, folder: Path, memory: bool = False) -> Iterator[Row]:
    bz = bebr.train(data.train, bytes_per_vector=size, metric=data.metric)
    with Database(folder, seal_rows=len(data.base) + 1 if memory else SEAL_ROWS) as db:
        docs = db.create_collection("docs", bz, keep="float16")
        for begin in range(0, len(data.base), 50_000):
            docs.upsert(range(begin, min(begin + 50_000, len(data.base))), data.base[begin : begin + 50_000])
        if memory:
            time.sleep(MOMENT)
        else:
            docs.settle()
        files = ", ".join(f"{rows:,} {kind}" for kind, rows in docs.stats().rows_by_kind.items()) or "memory"
        some = data.queries[:queries]
        true = exact(data.base, some, max(KS), data.metric)
        for k in KS:
            usual = 3 * k + 20
            spent: dict[int | None, list[list[float]]] = {None: [], usual: []}
            for _ in range(ROUNDS):
                for rescore, times in spent.items():
                    times.append([_seconds(docs, q, k, rescore) for q in some])
            found = {rescore: recall(docs.search(some, k, rescore=rescore).ids, true[:, :k]) for rescore in spent}
            ms = {rescore: 1000 * float(np.median(np.min(times, axis=0))) for rescore, times in spent.items()}
            wanted = by_default(docs.snapshot, k)
            yield Row(
                *(bz.bytes_per_vector, len(docs), files, k, wanted, found[None], ms[None]),
                *(usual, found[usual], ms[usual]),
            )


def _seconds(docs: bebr.store.collection.Collection, query: datasets.Floats, k: int, rescore: int | None) -> float:
    start = time.perf_counter()
    docs.search(query, k, rescore=rescore)
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--bytes", type=int, nargs="+", default=[24, 52])
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--rows", type=int, help="only the first so many")
    parser.add_argument("--metric", choices=("cosine", "ip", "l2"), help="another than the set's own")
    parser.add_argument("--memory", action="store_true", help="rows stay in memory")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    data = datasets.load(options.data)
    data = replace(data, base=data.base[: options.rows], metric=options.metric or data.metric)
    rows = []
    for size in options.bytes:
        with tempfile.TemporaryDirectory() as folder:
            rows += [asdict(row) for row in measured(data, size, options.queries, Path(folder), options.memory)]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))
    output.console().print(table)
    if options.json:
        output.save(options.json, machine.facts(bebr.get_num_threads()), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
