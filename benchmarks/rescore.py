"""Rescoring: recall and queries/s against the number of rows that get exact scores; float16 against int8; cold reads.

    python -m benchmarks.rescore --models small.safetensors large.safetensors --json results/rescore.json

One thread; every setting is timed once a round, rounds interleaved, figures are medians. Cold reads: the index file is
put out of the page cache before each timing, and a search by code brings the codes back.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from bebr.binarizer.codes import PreparedQueries
from bebr.exact import hits as shares
from bebr.index.raw import RawType
from benchmarks import datasets, machine, output

KINDS: tuple[RawType, ...] = ("float16", "int8")


@dataclass(frozen=True)
class Row:
    """``batch`` and ``single``: queries a second, all in one call and one a call. ``recall`` is that of the top k."""

    bytes: int
    kind: str
    k: int
    nprobe: int
    margin: float | None
    rescore: int
    recall: float
    batch: float
    single: float


@dataclass(frozen=True)
class Cold:
    """Milliseconds of a search for ``queries`` with ``rescore`` rows each: kept vectors ``cold``, not in memory, or all
    in memory."""

    kind: str
    queries: int
    rescore: int
    cold: bool
    milliseconds: float


def _seconds(index: bebr.IVFIndex, calls: Iterable[Any], setting: dict[str, Any]) -> float:
    start = time.perf_counter()
    for queries in calls:
        index.search(queries, **setting)
    return time.perf_counter() - start


def sweep(data: datasets.Dataset, models: Sequence[Path], args: argparse.Namespace) -> Iterator[Row]:
    queries = data.queries[: args.queries]
    truth = data.truth(max(args.k))
    for path in models:
        bz = bebr.Binarizer.load(path)
        for kind in KINDS:
            index = bebr.IVFIndex(bz, nlist=args.nlist, rescore=kind)
            index.train(data.train)
            index.add(data.base)
            settings = [
                {"k": k, "nprobe": p, "margin": m, "rescore": n}
                for k in args.k
                for p in args.nprobe
                for m in args.margin
                for n in args.rescore
                if n == 0 or n >= k
            ]
            found = [index.search(queries, **s).ids for s in settings]
            batch: list[list[float]] = [[] for _ in settings]
            single: list[list[float]] = [[] for _ in settings]
            for _ in range(args.rounds):
                for i, s in enumerate(settings):
                    batch[i].append(len(queries) / _seconds(index, [queries], s))
                    single[i].append(args.singles / _seconds(index, queries[: args.singles], s))
            for i, s in enumerate(settings):
                recall = float(shares(found[i], truth[: len(queries), : s["k"]]).mean())
                speeds = statistics.median(batch[i]), statistics.median(single[i])
                yield Row(bz.bytes_per_vector, kind, s["k"], s["nprobe"], s["margin"], s["rescore"], recall, *speeds)


def cold_reads(data: datasets.Dataset, model: Path, args: argparse.Namespace) -> Iterator[Cold]:
    bz = bebr.Binarizer.load(model)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for kind in KINDS:
            index = bebr.FlatIndex(bz, rescore=kind)
            # In an order that does not bring neighbours together.
            index.add(data.base[rng.permutation(len(data.base))], 10 * rng.permutation(len(data.base)))
            file = Path(folder) / f"{kind}.bebr"
            index.save(file)
            for count, n in ((1, 100), (64, 100)):
                taken = [_cold_and_warm(file, bz.prepare(data.queries[:count]), n) for _ in range(args.rounds)]
                for cold, seconds in zip((True, False), zip(*taken, strict=True), strict=True):
                    yield Cold(kind, count, n, cold, 1000 * statistics.median(seconds))


def _cold_and_warm(file: Path, queries: PreparedQueries, rescore: int) -> tuple[float, float]:
    gc.collect()  # pages that are still mapped stay in the cache
    with file.open("rb") as handle:
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    index = bebr.open_index(file)
    index.search_prepared(queries, 10, rescore=0)  # brings the codes into memory
    times = [time.perf_counter()]
    for _ in range(2):
        index.search_prepared(queries, 10, rescore=rescore)
        times.append(time.perf_counter())
    return times[1] - times[0], times[2] - times[1]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="wordnet")
    parser.add_argument("--models", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--nlist", type=int, default=256)
    parser.add_argument("--k", type=int, nargs="+", default=[10])
    parser.add_argument("--nprobe", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--margin", type=float, nargs="+", default=[None])
    parser.add_argument("--rescore", type=int, nargs="+", default=[0, 20, 50, 100, 200, 400])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--singles", type=int, default=100, help="queries timed one a call")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the file of the cold reads lies")
    parser.add_argument("--only", choices=["sweep", "cold"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    data = datasets.load(args.data)
    console = output.console()
    rows: list[dict[str, Any]] = []
    with machine.pinned(1):
        for made, kind in ((sweep(data, args.models, args), Row), (cold_reads(data, args.models[0], args), Cold)):
            if args.only and (args.only == "sweep") != (kind is Row):
                continue
            table = Table(*kind.__dataclass_fields__)
            for row in made:
                rows.append(asdict(row))
                table.add_row(
                    *(
                        f"{v:.4f}" if n == "recall" else f"{v:,.1f}" if isinstance(v, float) else str(v)
                        for n, v in asdict(row).items()
                    )
                )
            console.print(table)
    if args.json:
        output.save(args.json, machine.facts(1), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
