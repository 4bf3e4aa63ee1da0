"""A collection goes from one producer's vectors to another's while it is searched, written, and its server killed.

    python -m benchmarks.streaming [--rows 100000] [--kills 5] [--old minilm.npy --new bge.npy]

A server of its own, over gRPC. Rows have vectors of two producers: those of `--old` and `--new`, .npy files of the same
texts (`bebr embed`, `benchmarks.encoders.BGE`), the last 200 of which are queries; by default made ones, two random
networks' views of a mixture. The collection begins with codes of the old one; vectors of the new one are streamed,
batch by batch, by a client that asks what is missing after each kill. Meanwhile one client searches by old vectors, one
by new ones, and one rewrites rows. Then the cutover. Aims: no search fails but for the killed server; recall@10 of new
queries, against the old producer's neighbours, never below .9 of what old queries reach on old codes; all new at the
end.
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

QUERIES, K, BYTES = 200, 10, 52
BATCH = 500
NAME = "moving"


@dataclass
class Report:
    """Recall@10. `old_on_old`: of old queries by the old producer's neighbours, before; `new_on_old`: of new queries by
    the same, before the first vector came; `lowest_new`: of any hundred new queries on the way, by the neighbours that
    are better for each; `lowest_old`: of old ones. `new_on_new`: after the cutover, by the new producer's neighbours;
    `new_on_new_direct`: by an index of the new vectors."""

    rows: int
    kills: int = 0
    searches: int = 0
    failed: list[str] = field(default_factory=list)
    away: int = 0
    written: int = 0
    old_on_old: float = 0.0
    new_on_old: float = 0.0
    lowest_old: float = 1.0
    lowest_new: float = 1.0
    new_on_new: float = 0.0
    new_on_new_direct: float = 0.0
    seconds: float = 0.0
    cutover_seconds: float = 0.0
    behind: int = 0

    @property
    def good(self) -> bool:
        bridged = self.new_on_old >= 0.9 * self.old_on_old and self.lowest_new >= 0.9 * self.old_on_old
        return not self.failed and not self.behind and bridged and self.new_on_new >= self.new_on_new_direct - 0.01


def made(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """float32[rows, 384] of unit length, twice: what two random layers make of the same Gaussians round 200 centres."""
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(np.arange(1, 129, dtype=np.float32))
    items = (rng.standard_normal((200, 128), np.float32)[rng.integers(0, 200, rows)] * 1.0) * scale
    items += rng.standard_normal((rows, 128), np.float32) * scale
    views = []
    for _ in range(2):
        seen = np.tanh(items @ rng.standard_normal((128, 384), np.float32) / 2)
        views.append(np.asarray(seen / np.linalg.norm(seen, axis=1, keepdims=True), np.float32))
    return views[0], views[1]


class Load:
    """Two searchers of one query at a time, and a writer of 10 rows, until they are closed."""

    def __init__(self, target: str, data: Any, report: Report) -> None:
        self._target, self._data, self._report = target, data, report
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._search, args=[kind]) for kind in ("old", "new")]
        self._threads.append(threading.Thread(target=self._write))
        for thread in self._threads:
            thread.start()

    def _search(self, kind: str) -> None:
        data, shares, i = self._data, [], 0
        queries, model = (data.q_old, None) if kind == "old" else (data.q_new, data.new)
        with bebr.connect(self._target) as client:
            docs = client.collection(NAME)
            while not self._done.is_set():
                try:
                    hits = docs.search(queries[i % QUERIES], K, binarizer=model)
                except ConnectionError:
                    self._report.away += 1
                    continue
                except Exception as error:
                    self._report.failed.append(f"{kind}: {error!r}")
                    continue
                self._report.searches += 1
                truths = [data.by_old] if kind == "old" else [data.by_old, data.by_new]
                shares.append(max(recall(hits.ids, truth[i % QUERIES, None]) for truth in truths))
                i += 1
                if i % 100 == 0:
                    name = f"lowest_{kind}"
                    lowest = min(getattr(self._report, name), float(np.mean(shares[-100:])))
                    setattr(self._report, name, lowest)

    def _write(self) -> None:
        rng, data = np.random.default_rng(1), self._data
        with bebr.connect(self._target) as client:
            docs = client.collection(NAME)
            while not self._done.is_set():
                ids = rng.choice(len(data.x_old), 10, replace=False)
                try:
                    self._report.written += docs.upsert(ids, data.x_old[ids])
                except ConnectionError:
                    self._report.away += 1
                time.sleep(0.05)

    def close(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


@dataclass
class Data:
    x_old: np.ndarray
    x_new: np.ndarray
    q_old: np.ndarray
    q_new: np.ndarray
    by_old: np.ndarray
    by_new: np.ndarray
    old: bebr.Binarizer
    new: bebr.Binarizer


def prepared(old: np.ndarray, new: np.ndarray) -> Data:
    """Models trained on the rows, the new one compatible with the old one, and exact neighbours."""
    (x_old, q_old), (x_new, q_new) = ((x[:-QUERIES], x[-QUERIES:]) for x in (old, new))
    first = bebr.train(x_old[:20_000], bytes_per_vector=BYTES)
    second = bebr.train(
        x_new[:20_000], bytes_per_vector=BYTES, compatible_with=first, old_vectors=x_old[:20_000], seed=1
    )
    truths = exact(x_old, q_old, K, "cosine"), exact(x_new, q_new, K, "cosine")
    return Data(x_old, x_new, q_old, q_new, *truths, first, second)


def run(folder: Path, data: Data, kills: int) -> Report:
    rows = len(data.x_old)
    report, chance = Report(rows), random.Random(0)
    with ExitStack() as server:
        target, pid = server.enter_context(started("-m", "bebr", "serve", str(folder), "--port", "0"))
        port = target.rpartition(":")[2]
        with bebr.connect(target) as client:
            docs = client.create_collection(NAME, data.old)
            for i in range(0, rows, 10_000):
                docs.upsert(range(i, min(i + 10_000, rows)), data.x_old[i : i + 10_000])
            report.old_on_old = recall(docs.search(data.q_old, K).ids, data.by_old)
            docs.migrate(data.new, vectors=())
            report.new_on_old = recall(docs.search(data.q_new, K, binarizer=data.new).ids, data.by_old)
            load = Load(target, data, report)
            start = time.perf_counter()
            at = sorted(chance.uniform(0.05, 0.95) for _ in range(kills))
            while True:
                try:
                    missing = [row.id for row in docs.scroll(limit=BATCH, behind=True, payloads=False)]
                    if not missing:
                        break
                    docs.migrate(data.new, vectors=[(missing, data.x_new[np.array(missing)])])
                    if at and 1 - docs.stats().rows_behind / rows > at[0]:
                        at.pop(0)
                        os.kill(pid, signal.SIGKILL)
                        server.close()
                        _, pid = server.enter_context(started("-m", "bebr", "serve", str(folder), "--port", port))
                        report.kills += 1
                except ConnectionError:
                    report.away += 1
            report.seconds = time.perf_counter() - start
            load.close()
            missing = [row.id for row in docs.scroll(limit=rows, behind=True, payloads=False)]
            docs.migrate(data.new, vectors=[(missing, data.x_new[np.array(missing, np.int64)])])
            start = time.perf_counter()
            docs.cutover()
            report.cutover_seconds = time.perf_counter() - start
            report.new_on_new = recall(docs.search(data.q_new, K).ids, data.by_new)
            index = bebr.FlatIndex(data.new)
            index.add(data.x_new)
            report.new_on_new_direct = recall(index.search(data.q_new, K).ids, data.by_new)
            stats = docs.stats()
            report.behind = stats.rows_behind if stats.model.digest == data.new.digest else rows
            assert stats.rows == rows
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--old", type=Path, help="vectors of the old producer, .npy")
    parser.add_argument("--new", type=Path, help="vectors of the same texts by the new one")
    options = parser.parse_args()
    if options.old:
        views = tuple(np.load(path)[: options.rows + QUERIES] for path in (options.old, options.new))
    else:
        views = made(options.rows + QUERIES)
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), prepared(*views), options.kills)
    print(json.dumps(asdict(report), indent=2))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
