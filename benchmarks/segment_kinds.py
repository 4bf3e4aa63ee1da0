"""Flat or in lists: how a search of one query goes by the number of rows, and what a collection's merges cost.

    python -m benchmarks.segment_kinds indexes [--rows 30000 100000 300000]
    python -m benchmarks.segment_kinds collections [--rows 100000 300000 1000000] [--more 17000]

Rows come from a mixture of 1,000 Gaussians with a falling spectrum, codes from a model trained on 20,000 of them.
Recall is of what a scan of all codes finds, of queries that are no rows. Timings of one size are taken in turns.
`--more`: rows that come to a settled collection, and are not in lists yet when it is searched again.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bebr
from bebr.store.database import Database
from bebr.store.segments import writing
from bebr.store.upkeep import rewriting
from benchmarks.machine import facts

Floats = NDArray[np.float32]

_TURNS = 7
_CENTERS = 1000
_BATCH = 10_000
_LISTS = (1, 2, 4)  # times the square root of the rows


def vectors(count: int, dim: int, seed: int) -> Floats:
    """float32[count, dim], of unit length."""
    scale = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    centers = np.random.default_rng(1).standard_normal((_CENTERS, dim)).astype(np.float32) * scale
    rng = np.random.default_rng(seed)
    x = centers[rng.integers(0, _CENTERS, count)] + 0.7 * rng.standard_normal((count, dim), np.float32) * scale
    made: Floats = x / np.linalg.norm(x, axis=1, keepdims=True)
    return made


def agreement(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> float:
    """The share of the wanted rows that were found."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, wanted, strict=True)]))


def milliseconds(searches: Sequence[Callable[[Floats], object]], queries: Floats) -> list[list[float]]:
    """Of each search: the median and the 99th percentile of single queries, in the best of some turns."""
    best = [[math.inf, math.inf] for _ in searches]
    for _ in range(_TURNS):
        for i, search in enumerate(searches):
            taken = []
            for q in queries:
                start = time.perf_counter()
                search(q)
                taken.append(time.perf_counter() - start)
            now = [1e3 * float(np.percentile(taken, p)) for p in (50, 99)]
            best[i] = min(best[i], now)
    return best


def indexes(rows: Sequence[int], dim: int, size: int, k: int) -> None:
    x, queries = vectors(max(rows), dim, 2), vectors(200, dim, 3)
    bz = bebr.train(x[:20_000], bytes_per_vector=size, metric="cosine", seed=0)
    for n in rows:
        flat = bebr.FlatIndex(bz)
        flat.add(x[:n])
        wanted = flat.search(queries, k, exact=True).ids
        made: list[tuple[dict[str, object], Callable[[Floats], object]]] = [
            ({"index": "flat"}, partial(flat.search, k=k))
        ]
        for times in _LISTS:
            nlist = 1 << round(math.log2(times * math.sqrt(n)))
            index = bebr.IVFIndex(bz, nlist)
            index.train(x[:n][:: max(1, n // (64 * nlist))])
            index.add(x[:n])
            for target in (0.95, 0.98, 0.99):
                low, high = 1, nlist
                while low < high:
                    middle = (low + high) // 2
                    good = agreement(index.search(queries, k, nprobe=middle).ids, wanted) >= target
                    low, high = (low, middle) if good else (middle + 1, high)

                how = {"index": f"ivf {nlist}", "target": target, "nprobe": low}
                made.append((how, partial(index.search, k=k, nprobe=low)))
        for (what, _), (half, most) in zip(made, milliseconds([s for _, s in made], queries[:60]), strict=True):
            print(json.dumps({"rows": n, **what, "p50_ms": round(half, 3), "p99_ms": round(most, 3)}), flush=True)


def collections(rows: Sequence[int], dim: int, size: int, k: int, more: int) -> None:
    queries = vectors(200, dim, 3)
    bz = bebr.train(vectors(20_000, dim, 2), bytes_per_vector=size, metric="cosine", seed=0)
    written = [0]
    original = writing.write_segment

    def counted(*args: object) -> object:
        made = original(*args)  # type: ignore[arg-type]
        written[0] += 0 if made is None else made.rows
        return made

    rewriting.__dict__["write_segment"] = counted
    for n in rows:
        with tempfile.TemporaryDirectory() as folder, Database(Path(folder)) as db:
            flat = db.create_collection("flat", bz, index="flat")
            docs = db.create_collection("docs", bz)
            for begin in range(0, n, _BATCH):
                flat.upsert(range(begin, begin + _BATCH), vectors(_BATCH, dim, 10 + begin))
            flat.settle()
            written[0] = 0
            start, busy = time.perf_counter(), 0.0
            for begin in range(0, n, _BATCH):
                x = vectors(_BATCH, dim, 10 + begin)
                before = time.perf_counter()
                docs.upsert(range(begin, begin + _BATCH), x)
                busy += time.perf_counter() - before
            docs.settle()
            settled = time.perf_counter() - start
            wanted = docs.search(queries, k, exact=True).ids
            found = docs.search(queries, k).ids
            both = milliseconds([partial(flat.search, k=k), partial(docs.search, k=k)], queries[:60])
            print(
                json.dumps(
                    {
                        "rows": n,
                        "by_kind": dict(docs.stats().rows_by_kind),
                        "flat_p50_p99_ms": [round(ms, 3) for ms in both[0]],
                        "auto_p50_p99_ms": [round(ms, 3) for ms in both[1]],
                        "lists_by_k": [
                            dict(view.part.effort.by_k) for view in docs.snapshot.segments if view.part.effort
                        ],
                        "recall_of_scan": round(agreement(found, wanted), 4),
                        "writes_per_row": round(written[0] / n, 2),
                        "rows_per_s_in_upserts": round(n / busy),
                        "s_until_settled": round(settled, 1),
                    }
                ),
                flush=True,
            )
            if more == 0:
                continue
            docs.upsert(range(n, n + more), vectors(more, dim, 9))
            (p50, p99), *_ = milliseconds([partial(docs.search, k=k)], queries[:60])
            start = time.process_time()
            found = docs.search(queries, k).ids
            batch = (time.process_time() - start) / len(queries)
            print(
                json.dumps(
                    {
                        "rows": n + more,
                        "by_kind": dict(docs.stats().rows_by_kind),
                        "auto_p50_p99_ms": [round(p50, 3), round(p99, 3)],
                        "batch_ms": round(1e3 * batch, 3),
                        "recall_of_scan": round(agreement(found, docs.search(queries, k, exact=True).ids), 4),
                    }
                ),
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["indexes", "collections"])
    parser.add_argument("--rows", type=int, nargs="*", default=[30_000, 100_000, 300_000])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--bytes", type=int, default=52)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--more", type=int, default=0, help="rows that come to a settled collection")
    options = parser.parse_args()
    print(json.dumps(facts(bebr.get_num_threads())))
    if options.what == "indexes":
        indexes(options.rows, options.dim, options.bytes, options.k)
    else:
        collections(options.rows, options.dim, options.bytes, options.k, options.more)


if __name__ == "__main__":
    main()
