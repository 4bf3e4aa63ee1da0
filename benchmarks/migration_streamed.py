"""A collection goes from MiniLM's vectors to bge-small's while it is searched and written, and its server is killed.

    python -m benchmarks.migration_streamed [--rows 100000] [--kills 5]
    python -m benchmarks.migration_streamed --generated      # where the texts or an encoder are missing

A server of its own, over gRPC. Rows are texts of Debian's packages, queries synopses that are no rows; each wants the
long description of its package among the first ten. The new model is trained to search the old codes. Its vectors are
streamed for the rows that are behind, until none is; then the collection is cut over. Meanwhile one client searches
without end, in turns by old queries and by new ones, and another rewrites rows. `--generated`: mixtures of Gaussians
and a map of them stand for the two producers, and a query is a row with noise.

Aims: no search fails but for the killed server; new queries, of any hundred on the way, find .9 of what old ones find
in old codes; after the cutover every row is the new model's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import bebr
from bebr.exact import exact
from benchmarks import compatible, datasets, sources
from benchmarks.datasets import Floats, Ids
from benchmarks.filters import blocks, mixture
from benchmarks.servers import started

NAME, K, BATCH, WINDOW = "docs", 10, 2000, 100
LEAST_SHARE = 0.9


@dataclass(frozen=True)
class Producer:
    """Vectors of the same texts by one producer."""

    rows: Floats
    queries: Floats
    train: Floats


@dataclass
class Report:
    """Shares of queries whose own row is among the first ten: of old and of new ones by floats, of both in the old
    codes before the migration, the lowest of any hundred of either kind on the way and the mean of new ones, of new
    ones after it, and of new ones in an index of their own. `away`: calls that found the server gone in spite of their
    retries; `renewed`: searches after the cutover that had to get the collection anew."""

    rows: int
    kills: int = 0
    searches: int = 0
    failed: list[str] = field(default_factory=list)
    away: int = 0
    renewed: int = 0
    written: int = 0
    old_floats: float = 0.0
    new_floats: float = 0.0
    old_on_old: float = 0.0
    new_on_old: float = 0.0
    lowest_old: float = 1.0
    mean_new: float = 0.0
    lowest_new: float = 1.0
    after: float = 0.0
    alone: float = 0.0
    seconds: float = 0.0
    behind: int = 0

    @property
    def good(self) -> bool:
        kept = self.lowest_new >= LEAST_SHARE * self.old_on_old and self.after >= self.alone - 0.01
        return kept and not self.failed and not self.behind


def debian(rows: int, queries: int) -> tuple[Producer, Producer]:
    """MiniLM's and bge-small's. ``MissingSource`` names what is not installed."""
    texts = sources.debian()
    asked, described, train = compatible.split(texts, sources.debian_pairs())
    asked, own = asked[:queries], described[:queries]
    others = np.setdiff1d(np.arange(len(texts)), np.concatenate([asked, own]))
    chosen = np.concatenate([own, others])[:rows]
    made = []
    for name in ("minilm", "bge"):
        vectors = datasets.embedded("debian", texts, max_tokens=64, producer=name)
        made.append(Producer(vectors[chosen], vectors[asked], vectors[train]))
    return made[0], made[1]


def generated(rows: int, queries: int, dim: int = 384) -> tuple[Producer, Producer]:
    """Two views of rows of a mixture: themselves, and their images by a map that is not linear."""
    chance = np.random.default_rng(0)
    x = np.concatenate([block for _, block in blocks(mixture(dim, 0), rows)])
    turn = chance.standard_normal((dim, dim), np.float32)

    def seen(vectors: Floats) -> Floats:
        turned = np.tanh(2 * vectors @ turn)
        return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True), np.float32)

    q = x[:queries] + 0.35 / np.sqrt(dim) * chance.standard_normal((queries, dim), np.float32)
    return Producer(x, np.asarray(q, np.float32), x[queries:]), Producer(seen(x), seen(q), seen(x[queries:]))


def found(ids: Ids, begin: int = 0) -> float:
    """The share of queries whose own row, of the same number, is there."""
    return float((ids == np.arange(begin, begin + len(ids))[:, None]).any(axis=1).mean())


class Load:
    """Searches of one query at a time, by old and new ones in turns, and rewrites of 20 rows; until it is closed."""

    def __init__(self, target: str, old: Producer, new: Producer, model: bebr.Binarizer, report: Report) -> None:
        self._target, self._old, self._new, self._model, self._report = target, old, new, model, report
        self._done, self._written = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._search, self._write)]
        for thread in self._threads:
            thread.start()

    def _search(self) -> None:
        report, wins = self._report, ([], [])  # type: tuple[Report, tuple[list[bool], list[bool]]]
        with bebr.connect(self._target) as client:
            docs, count, over = client.collection(NAME), 0, False
            while not self._done.is_set():
                number, is_new = divmod(count, 2)
                number %= len(self._old.queries)
                try:
                    if over or is_new:
                        hits = docs.search(self._new.queries[number], K, binarizer=None if over else self._model)
                    else:
                        hits = docs.search(self._old.queries[number], K)
                except ConnectionError:
                    report.away += 1
                    continue
                except bebr.IncompatibleModel as error:
                    docs, over = client.collection(NAME), True
                    report.renewed += 1
                    if docs.binarizer.digest != self._model.digest or report.renewed > 1:
                        report.failed.append(repr(error))
                    continue
                except Exception as error:
                    report.failed.append(repr(error))
                    continue
                count += 1
                report.searches += 1
                some = wins[1 if over else is_new]
                some.append(number in hits.ids[0])
                if len(some) % WINDOW == 0:
                    share = float(np.mean(some[-WINDOW:]))
                    if some is wins[1]:
                        report.mean_new = float(np.mean(some))
                        report.lowest_new = min(report.lowest_new, share)
                    else:
                        report.lowest_old = min(report.lowest_old, share)

    def _write(self) -> None:
        chance = np.random.default_rng(1)
        with bebr.connect(self._target) as client:
            docs = client.collection(NAME)
            while not self._written.is_set():
                ids = chance.choice(len(self._old.rows), 20, replace=False)
                try:
                    self._report.written += docs.upsert(ids, self._old.rows[ids])
                except ConnectionError:
                    self._report.away += 1
                time.sleep(0.05)

    def stop_writing(self) -> None:
        """No write is under way once it returns."""
        self._written.set()
        self._threads[1].join()

    def close(self) -> None:
        self.stop_writing()
        self._done.set()
        for thread in self._threads:
            thread.join()


def streamed(docs: Any, new: Producer, model: bebr.Binarizer, report: Report, between: Callable[[int], None]) -> None:
    """Streams a batch of the rows that are behind, until there is none. `between`: called with how many are left."""
    while True:
        try:
            page = docs.scroll(limit=BATCH, behind=True, payloads=False)
            if not page:
                return
            ids = np.array([row.id for row in page])
            docs.migrate(model, vectors=[(ids, new.rows[ids])])
            left = docs.stats().rows_behind
        except ConnectionError:
            report.away += 1
            continue
        between(left)


def run(folder: Path, old: Producer, new: Producer, first: bebr.Binarizer, model: bebr.Binarizer, kills: int) -> Report:
    """`first`: the model of old codes; `model`: of new ones, whose queries may search old codes."""
    rows = len(old.rows)
    report = Report(rows)
    alone = bebr.FlatIndex(model)
    alone.add(new.rows)
    report.alone = found(alone.search(new.queries, K).ids)
    report.old_floats, report.new_floats = (found(exact(one.rows, one.queries, K, "cosine")) for one in (old, new))
    with ExitStack() as server:
        target, pid = server.enter_context(started("-m", "bebr", "serve", str(folder), "--port", "0"))
        port = target.rpartition(":")[2]
        with bebr.connect(target) as client:
            docs = client.create_collection(NAME, first)
            docs.upsert(np.arange(rows), old.rows, [{"row": row} for row in range(rows)])
            docs.settle()
            report.old_on_old = found(docs.search(old.queries, K).ids)
            docs.migrate(model, vectors=())
            report.new_on_old = found(docs.search(new.queries, K, binarizer=model).ids)
            load = Load(target, old, new, model, report)
            start = time.perf_counter()

            def between(left: int) -> None:
                nonlocal pid
                if report.kills < kills and left <= rows * (1 - (report.kills + 1) / (kills + 1)):
                    os.kill(pid, signal.SIGKILL)
                    server.close()
                    _, pid = server.enter_context(started("-m", "bebr", "serve", str(folder), "--port", port))
                    report.kills += 1
                if left < rows // 20:
                    load.stop_writing()  # what is written is behind again

            streamed(docs, new, model, report, between)
            docs.cutover()
            report.seconds = time.perf_counter() - start
            time.sleep(1)  # searches go on
            load.close()
            docs = client.collection(NAME)
            docs.settle()
            report.after = found(docs.search(new.queries, K).ids)
            stats = docs.stats()
            report.behind = rows if stats.model.digest != model.digest or stats.target else stats.rows_behind
            assert stats.rows == rows
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--train", type=int, default=30_000, help="rows to train on, none of them a query's own")
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--generated", action="store_true")
    options = parser.parse_args()
    try:
        both = (generated if options.generated else debian)(options.rows, options.queries)
    except sources.MissingSource as error:
        print(f"{error.args[0]}\nor give --generated", file=sys.stderr)
        return 1
    old, new = (Producer(one.rows, one.queries, one.train[: options.train]) for one in both)
    first = bebr.train(old.train, bytes_per_vector=options.bytes, seed=0)
    size = options.bytes
    model = bebr.train(new.train, bytes_per_vector=size, compatible_with=first, old_vectors=old.train, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), old, new, first, model, options.kills)
    print(json.dumps(asdict(report), indent=2))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
