"""A collection gets another model while it is searched and written, and its server is killed on the way.

    python -m benchmarks.migration [--rows 100000] [--kills 5]

A server of its own, over gRPC. Rows of 384 dimensions are coded by `bebr.untrained` (52 bytes) and kept in float16;
then the collection migrates to codes of 100 bytes. One client searches without end, another
rewrites rows. Aims: no search fails but for the killed server, recall@10 never below that of the old model less .01,
at the end neither, and every row of the new model then.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import bebr
from bebr.exact import exact, recall
from benchmarks.servers import started

DIM, QUERIES, K = 384, 100, 10
NAME = "migrating"


@dataclass
class Report:
    """Recall@10 of searches, and by code alone; `lowest`: of any hundred searches on the way. p50 in milliseconds, of
    single searches. `away`: calls that found the server gone in spite of their retries. `behind`: rows of the old model
    at the end."""

    rows: int
    kills: int = 0
    searches: int = 0
    failed: list[str] = field(default_factory=list)
    away: int = 0
    written: int = 0
    before: float = 0.0
    lowest: float = 1.0
    after: float = 0.0
    code_before: float = 0.0
    code_after: float = 0.0
    p50_before: float = 0.0
    p50_during: float = 0.0
    seconds: float = 0.0
    behind: int = 0

    @property
    def good(self) -> bool:
        return not self.failed and not self.behind and min(self.lowest, self.after) >= self.before - 0.01


def made(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 [rows, 384] and queries: 200 Gaussians whose spectra fall as 1/i, unit length."""
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(np.arange(1, DIM + 1, dtype=np.float32))
    basis = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
    centers = rng.standard_normal((200, DIM), np.float32)[rng.integers(0, 200, rows + QUERIES)]
    drawn = (centers + rng.standard_normal(centers.shape, np.float32)) * scale @ basis
    x = np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)
    return x[:rows], x[rows:]


class Load:
    """Searches of one query at a time, and rewrites of 20 rows, until it is closed."""

    def __init__(self, target: str, x: np.ndarray, q: np.ndarray, truth: np.ndarray, report: Report) -> None:
        self._target, self._x, self._q, self._truth, self._report = target, x, q, truth, report
        self._done = threading.Event()
        self.times: list[float] = []
        self._shares: list[float] = []
        self._threads = [threading.Thread(target=work) for work in (self._search, self._write)]
        for thread in self._threads:
            thread.start()

    def _search(self) -> None:
        with bebr.connect(self._target) as client:
            docs, i = client.collection(NAME), 0
            while not self._done.is_set():
                start = time.perf_counter()
                try:
                    hits = docs.search(self._q[i % QUERIES], K)
                except ConnectionError:
                    self._report.away += 1
                    continue
                except Exception as error:
                    self._report.failed.append(repr(error))
                    continue
                self.times.append(time.perf_counter() - start)
                self._report.searches += 1
                self._shares.append(recall(hits.ids, self._truth[i % QUERIES, None]))
                i += 1
                if i % QUERIES == 0:
                    self._report.lowest = min(self._report.lowest, float(np.mean(self._shares[-QUERIES:])))

    def _write(self) -> None:
        rng = np.random.default_rng(1)
        with bebr.connect(self._target) as client:
            docs = client.collection(NAME)
            while not self._done.is_set():
                ids = rng.choice(len(self._x), 20, replace=False)
                try:
                    self._report.written += docs.upsert(ids, self._x[ids])
                except ConnectionError:
                    self._report.away += 1
                time.sleep(0.02)

    def close(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def run(folder: Path, rows: int, kills: int) -> Report:
    report = Report(rows)
    x, q = made(rows)
    truth = exact(x, q, K, "cosine")
    new = bebr.untrained(DIM, 100, seed=1)
    chance = random.Random(0)
    with ExitStack() as server:
        target, pid = server.enter_context(started("-m", "bebr", "serve", str(folder), "--port", "0"))
        port = target.rpartition(":")[2]
        with bebr.connect(target) as client:
            docs = client.create_collection(NAME, bebr.untrained(DIM, 52), keep="float16")
            for i in range(0, rows, 10_000):
                docs.upsert(range(i, min(i + 10_000, rows)), x[i : i + 10_000])
                docs.settle()
            report.before = recall(docs.search(q, K).ids, truth)
            report.code_before = recall(docs.search(q, K, rescore=0).ids, truth)
            times = []
            for one in q:
                start = time.perf_counter()
                docs.search(one, K)
                times.append(time.perf_counter() - start)
            report.p50_before = 1e3 * float(np.median(times))
            load = Load(target, x, q, truth, report)
            start = time.perf_counter()
            docs.migrate(new)
            due = time.perf_counter() + chance.uniform(0.1, 2)
            while (waits := _target(docs)) or report.kills < kills:
                if report.kills < kills and (not waits or time.perf_counter() > due):
                    os.kill(pid, signal.SIGKILL)
                    server.close()
                    _, pid = server.enter_context(started("-m", "bebr", "serve", str(folder), "--port", port))
                    report.kills += 1
                    due = time.perf_counter() + chance.uniform(0.1, 2)
                time.sleep(0.01)
            report.seconds = time.perf_counter() - start
            load.close()
            report.p50_during = 1e3 * float(np.median(load.times))
            report.after = recall(docs.search(q, K).ids, truth)
            report.code_after = recall(docs.search(q, K, rescore=0).ids, truth)
            stats = docs.stats()
            report.behind = stats.rows_behind if stats.model.digest == new.digest else rows
            assert stats.rows == rows
    return report


def _target(docs: Any) -> str:
    """The model that rows wait for; "away" while the server is."""
    try:
        return str(docs.stats().target)
    except ConnectionError:
        return "away"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), options.rows, options.kills)
    print(json.dumps(asdict(report), indent=2))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
