"""Flat search against every installed peer: recall@k, queries a second, bytes per vector, and speed at equal recall.

    python -m benchmarks.flat wordnet --json results/flat.json

All engines hold the same rows and answer the same queries on the same number of threads. Repetitions are interleaved
(each round measures every engine once), so that a slow moment of the machine falls on all; figures are medians.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import bebr
from bebr.exact import recall
from bebr.peers import DEFAULT, Adapter, Case, Peer, Setting, flat, missing, prepared
from benchmarks import datasets, machine, output
from benchmarks.datasets import Floats, Ids

BATCH = 256
# A single-query loop of this length is long enough for the clock, short enough for the slowest peer.
SINGLES = 32


class Ours(Adapter):
    """One size and query mode of bebr as a Peer; the two modes of a size share one index."""

    library = "bebr"
    training_free = False

    def __init__(self, size: int, query: str, case: Case, oversampling: int | None, twin: Ours | None = None) -> None:
        mode = "ADC" if query == "float" else "SDC"
        more = f" oversampling {oversampling}" if oversampling else ""
        super().__init__(f"bebr {size} B {mode}{more}", case, bebr.__version__)
        self._size, self._query, self._oversampling, self._twin = size, query, oversampling, twin
        self.index: Any = None

    @property
    def bytes_per_vector(self) -> float:
        return float(self.index.binarizer.bytes_per_vector)

    def fit(self, train: Floats, threads: int | None = None) -> None:
        self.index = self._twin.index if self._twin else None
        if self.index is None:
            model = bebr.train(train, bytes_per_vector=self._size, metric=self._case.metric, seed=0)
            self.index = bebr.FlatIndex(model)

    def add(self, base: Floats, threads: int | None = None) -> None:
        if self._twin is None:
            self.index.add(base)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        found: Ids = self.index.search(queries, k, query=self._query, oversampling=self._oversampling).ids
        return found


@dataclass
class Row:
    """Figures of one engine. ``batch_qps`` and ``single_qps`` are medians over the rounds, in queries a second."""

    name: str
    library: str
    version: str
    bytes_per_vector: float
    recall: float
    build_seconds: float
    batch_qps: float = 0.0
    single_qps: float = 0.0
    batch_seconds: list[float] = field(default_factory=list)
    single_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Match:
    """The fastest of our rows that reaches a peer's recall, for batches and for single queries, and by how much."""

    peer: str
    peer_recall: float
    batch: str
    batch_ratio: float
    single: str
    single_ratio: float


def engines(dim: int, metric: str, sizes: Sequence[int], oversampling: Sequence[int], pattern: str) -> list[Peer]:
    """Ours in every size and mode (with the default and each given oversampling), then peers whose name matches."""
    chosen: list[Peer] = []
    case = Case(dim, metric)
    for size in sizes:
        first = Ours(size, "float", case, None)
        chosen += [first, Ours(size, "code", case, None, first)]
        for times in oversampling:
            chosen += [Ours(size, mode, case, times, first) for mode in ("float", "code")]
    return chosen + [peer for peer in flat(dim, metric) if re.search(pattern, peer.name)]


def run(
    data: datasets.Dataset, peers: Sequence[Peer], k: int, threads: int, rounds: int, console: Console
) -> list[Row]:
    """Build each engine, take its recall over all queries, then time all of them in turn, ``rounds`` times over."""
    truth = data.truth(k)
    base, train, queries = (prepared(rows, data.metric) for rows in (data.base, data.train, data.queries))
    rows: list[Row] = []
    alive: list[Peer] = []
    with Progress(console=console) as bar:
        task = bar.add_task("build", total=len(peers))
        for peer in peers:
            bar.update(task, description=f"build {peer.name}")
            start = time.perf_counter()
            try:
                peer.fit(train)
                peer.add(base)
                found = peer.search(queries, k, threads)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                console.print(f"{peer.name}: skipped, it refused this data: {' '.join(str(error).split())[:160]}")
                bar.advance(task)
                continue
            built = time.perf_counter() - start
            rows.append(Row(peer.name, peer.library, peer.version, peer.bytes_per_vector, recall(found, truth), built))
            alive.append(peer)
            bar.advance(task)
        task = bar.add_task("measure", total=rounds * len(alive))
        batch, singles = queries[:BATCH], queries[:SINGLES]
        with machine.pinned(threads):
            for _ in range(rounds):
                for peer, row in zip(alive, rows, strict=True):
                    bar.update(task, description=f"measure {peer.name}", advance=1)
                    peer.search(singles[:1], k, threads)  # the previous engine emptied the caches
                    start = time.perf_counter()
                    for position in range(len(singles)):
                        peer.search(singles[position : position + 1], k, threads)
                    middle = time.perf_counter()
                    peer.search(batch, k, threads)
                    row.single_seconds.append(middle - start)
                    row.batch_seconds.append(time.perf_counter() - middle)
    for row in rows:
        row.batch_qps = len(batch) / float(np.median(row.batch_seconds))
        row.single_qps = len(singles) / float(np.median(row.single_seconds))
    return rows


def matches(rows: Sequence[Row]) -> list[Match]:
    """For each peer, our fastest row of at least its recall; peers beyond the reach of every size are left out."""
    found = []
    for peer in rows:
        able = [row for row in rows if row.library == "bebr" and row.recall >= peer.recall]
        if peer.library == "bebr" or not able:
            continue
        batch = max(able, key=lambda row: row.batch_qps)
        single = max(able, key=lambda row: row.single_qps)
        found.append(
            Match(
                peer.name,
                peer.recall,
                batch.name,
                batch.batch_qps / peer.batch_qps,
                single.name,
                single.single_qps / peer.single_qps,
            )
        )
    return found


def _tables(rows: Sequence[Row], data: datasets.Dataset, k: int, threads: int) -> list[Table]:
    title = f"{data.name}: {len(data.base):,} x {data.base.shape[1]}, {data.metric}, {threads} thread(s)"
    figures = Table(title=title)
    columns = (
        "engine",
        "bytes",
        f"recall@{k}",
        f"batch {BATCH}: q/s",
        "M pairs/s",
        "single: q/s",
        "M pairs/s",
        "build s",
    )
    for column in columns:
        figures.add_column(column, justify="left" if column == "engine" else "right")
    million = len(data.base) / 1e6
    for row in sorted(rows, key=lambda row: (row.library != "bebr", row.bytes_per_vector)):
        figures.add_row(
            row.name,
            f"{row.bytes_per_vector:g}",
            f"{row.recall:.4f}",
            f"{row.batch_qps:,.0f}",
            f"{row.batch_qps * million:,.1f}",
            f"{row.single_qps:,.0f}",
            f"{row.single_qps * million:,.1f}",
            f"{row.build_seconds:.1f}",
        )
    ratios = Table(title="our speed at equal or better recall")
    for column in ("peer", "its recall", f"batch {BATCH}: ours", "times", "single: ours", "times"):
        ratios.add_column(column, justify="right" if column in ("its recall", "times") else "left")
    for match in matches(rows):
        ratios.add_row(
            match.peer,
            f"{match.peer_recall:.4f}",
            match.batch,
            f"{match.batch_ratio:.1f}",
            match.single,
            f"{match.single_ratio:.1f}",
        )
    return [figures, ratios]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.flat``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", nargs="?", default="wordnet", choices=datasets.names())
    parser.add_argument("--sizes", default="52,100,196", help="bytes per vector of our codes")
    parser.add_argument("--oversampling", default="", help="factors of k to measure besides the default, e.g. 10,50")
    parser.add_argument("--peers", default="", help="regular expression on peer names; all when left out")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved repetitions")
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    console = output.console()
    for line in missing():
        console.print(line)
    data = datasets.load_or_say(options.dataset, console.print)
    if data is None:
        return 1
    sizes = [int(size) for size in options.sizes.split(",")]
    oversampling = [int(times) for times in options.oversampling.split(",") if times]
    chosen = engines(data.base.shape[1], data.metric, sizes, oversampling, options.peers)
    rows = run(data, chosen, options.k, options.threads, options.rounds, console)
    for table in _tables(rows, data, options.k, options.threads):
        console.print(table)
    if options.json:
        described = {"dataset": data.name, "checksum": data.checksum, "vectors": len(data.base), "k": options.k}
        equal = [asdict(match) for match in matches(rows)]
        output.save(
            options.json, machine.facts(options.threads), [asdict(row) for row in rows], **described, equal_recall=equal
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
