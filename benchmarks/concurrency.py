"""One collection under everything at once: what a single search waits for, and what writers gain by sharing commits.

    python -m benchmarks.concurrency [--rows 1000000] [--seconds 20] [--seal-rows 2000] [--grpc] > concurrency.json

Three kinds of calls run beside each other, each in a thread of its own: searches of many queries over half of the rows
(seconds each), a stream of upserts that replace rows and their payloads, and single searches with payloads, whose
latencies are reported, beside the pauses that this machine makes by itself when all its processors are busy. Rows are
sealed every --seal-rows; nearly a quarter of the large segment is deleted beforehand, so that soon a seal merges all of
it. Aim: the worst below 50 ms at 10^6 rows. Every hit's score is then computed again from the row that its payload
names: a payload of another write than its row's gives another score. Aim: 0 of 10,000 or more.

Then upserts alone: of one row by 1, 4 and 16 threads (aim: 16 reach 5 times the rate of one), and in batches of 1,000.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import sys
import tempfile
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

import bebr
from bebr.store.database import Database
from bebr.store.writes.shared import SEAL_ROWS
from benchmarks import machine, servers

K = 10
NAME = "bench"
DIMS = 64
BATCHES = "rows/s in batches of 1,000"


class Rows:
    """Unit vectors that payloads name by number: row i is always the same vector, and cheap to make again."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._pool = rng.standard_normal((200_003, DIMS), np.float32)
        self._pool /= np.linalg.norm(self._pool, axis=1, keepdims=True)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        x = self._pool[rows % len(self._pool)] + 0.5 * self._pool[rows // 7 % 199_999]
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def percentiles(seconds: list[float]) -> dict[str, float]:
    ms = 1e3 * np.array(seconds)
    return {
        "searches": len(ms),
        "p50_ms": round(float(np.median(ms)), 2),
        "p99_ms": round(float(np.percentile(ms, 99)), 2),
        "p99.9_ms": round(float(np.percentile(ms, 99.9)), 2),
        "worst_ms": round(float(ms.max()), 2),
    }


def segments(folder: Path) -> dict[str, float]:
    """The segment files of a database by name, and their MiB."""
    sizes = {}
    for file in (folder / "segments").glob("*.bebr"):
        with contextlib.suppress(FileNotFoundError):
            sizes[file.name] = file.stat().st_size / 2**20
    return sizes


def mixed(
    collection: Any, rows: Rows, count: int, seconds: float, quiet: bool, seed: int, folder: Path
) -> dict[str, Any]:
    """Single searches for so many seconds, alone (`quiet`) or beside filtered searches and upserts."""
    stop, rng = threading.Event(), np.random.default_rng(seed)
    half = np.flatnonzero(rng.random(count) < 0.5)
    many = rows[rng.integers(0, 1 << 40, 2000)]
    filtered, upserts = [0.0], [0]

    def filter_long() -> None:
        while not stop.is_set():
            start = time.perf_counter()
            collection.search(many, K, allow=half)
            filtered.append(time.perf_counter() - start)

    def upsert() -> None:
        chance = np.random.default_rng(seed + 1)
        while not stop.is_set():
            ids = chance.choice(count, 10, replace=False)
            new = chance.integers(0, 1 << 40, len(ids))
            collection.upsert(ids, rows[new], [{"row": int(row)} for row in new])
            upserts[0] += len(ids)

    threads = [] if quiet else [threading.Thread(target=work) for work in (filter_long, upsert)]
    for thread in threads:
        thread.start()
    latencies: list[float] = []
    answers: list[tuple[np.ndarray, Any]] = []
    before = written = segments(folder)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if len(latencies) % 20 == 0:
            written = written | segments(folder)
        q = rows[rng.integers(0, 1 << 40, 1)]
        start = time.perf_counter()
        hits = collection.search(q, K, with_payloads=True)
        latencies.append(time.perf_counter() - start)
        answers.append((q, hits))
    stop.set()
    for thread in threads:
        thread.join()
    result: dict[str, Any] = percentiles(latencies)
    if not quiet:
        wrong, total = foreign(collection.binarizer, rows, answers)
        result |= {"rows_upserted": upserts[0], "longest_filtered_search_s": round(max(filtered), 2)}
        result |= {
            "segments_written": len(set(written) - set(before)),
            "largest_of_them_mib": round(max((written[name] for name in set(written) - set(before)), default=0.0), 1),
        }
        result |= {"hits": total, "hits_with_the_payload_of_another_write": wrong}
    return result


def foreign(bz: bebr.Binarizer, rows: Rows, answers: list[tuple[np.ndarray, Any]]) -> tuple[int, int]:
    """Hits whose score is not that of the row which their payload names, and hits in all."""
    wrong = total = 0
    for q, hits in answers:
        named = np.array([payload["row"] for payload in hits.payloads[0]])
        index = bebr.FlatIndex(bz)
        index.add(rows[named], np.arange(len(named)))
        scores, order = index.search(q, len(named), exact=True)
        expected = np.empty_like(scores[0])
        expected[order[0]] = scores[0]
        wrong += int((expected != hits.scores[0]).sum())
        total += len(named)
    return wrong, total


def upserts_per_second(collection: Any, rows: Rows, count: int, threads: int, size: int, seconds: float) -> float:
    """Rows a second that so many threads write in batches of `size`."""
    done, end = [0] * threads, time.perf_counter() + seconds

    def write(number: int) -> None:
        chance = np.random.default_rng(number)
        while time.perf_counter() < end:
            ids = chance.choice(count, size, replace=False) if size > 1 else chance.integers(0, count, 1)
            new = chance.integers(0, 1 << 40, size)
            collection.upsert(ids, rows[new], [{"row": int(row)} for row in new])
            done[number] += size

    start = time.perf_counter()
    workers = [threading.Thread(target=write, args=[i]) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - start)


def fill(collection: Any, rows: Rows, count: int) -> float:
    """Writes and seals so many rows; seconds."""
    start = time.perf_counter()
    for begin in range(0, count, 20_000):
        ids = np.arange(begin, min(begin + 20_000, count))
        collection.upsert(ids, rows[ids], [{"row": int(row)} for row in ids])
    collection.settle()
    return time.perf_counter() - start


def serving(folder: Path, seal_rows: int = SEAL_ROWS) -> AbstractContextManager[tuple[str, int]]:
    """The address and the process of a server."""
    script = (
        "import functools; from bebr.serve import server; "
        f"server.Database = functools.partial(server.Database, seal_rows={seal_rows}); "
        f"server.run({str(folder)!r}, port=0)"
    )
    return servers.started("-c", script)


def told(name: str, figure: Any) -> Any:
    print(f"{name}: {figure}", file=sys.stderr, flush=True)
    return figure


def searches(collection: Any, rows: Rows, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Single searches alone, and beside everything else while seals rewrite the large segment."""
    count, seconds = options.rows, options.seconds
    collection.delete(np.random.default_rng(2).permutation(count)[: int(0.245 * count)])
    beside = "beside filtered searches and upserts"
    return {
        "alone": told("alone", mixed(collection, rows, count, seconds / 4, True, 0, folder)),
        beside: told(beside, mixed(collection, rows, count, seconds, False, 1, folder)),
    }


def writers(collection: Any, rows: Rows, options: argparse.Namespace) -> dict[str, Any]:
    """Upserts alone: rows a second."""
    result: dict[str, Any] = {}
    for name, threads, size in (*((f"one-row upserts/s, {n} writers", n, 1) for n in (1, 4, 16)), (BATCHES, 1, 1000)):
        rate = upserts_per_second(collection, rows, options.rows, threads, size, options.seconds / 4)
        result[name] = told(name, round(rate))
    one, many = (result[f"one-row upserts/s, {threads} writers"] for threads in (1, 16))
    return {**result, "16 writers over one": round(many / one, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the mixed load; the others take a quarter")
    parser.add_argument("--seal-rows", type=int, default=2000, help="of the mixed load: a seal after so many rows")
    parser.add_argument("--grpc", action="store_true", help="then the same through a server")
    options = parser.parse_args()
    rows = Rows(0)
    bz = bebr.train(rows[np.arange(20_000)], widths=[64, 32], metric="cosine", seed=0)
    result: dict[str, Any] = {"rows": options.rows, "bytes_per_vector": bz.bytes_per_vector}
    gc.collect()
    gc.freeze()  # as the server does: a full collection of Python's garbage holds every thread up
    pauses = told("pauses of the machine itself, ms", [round(ms) for ms in machine.pauses(options.seconds)])
    result["pauses of the machine itself, ms"] = pauses
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with bebr.open(folder) as db:
            result["fill_s"] = round(fill(db.create_collection(NAME, bz), rows, options.rows), 1)
        with Database(folder, seal_rows=options.seal_rows) as db:
            result["local"] = searches(db.collection(NAME), rows, options, folder)
        with bebr.open(folder) as db:
            result["local"] |= writers(db.collection(NAME), rows, options)
        if options.grpc:
            with serving(folder, options.seal_rows) as (target, _), bebr.connect(target) as client:
                result["grpc"] = searches(client.collection(NAME), rows, options, folder)
            with serving(folder) as (target, _), bebr.connect(target) as client:
                result["grpc"] |= writers(client.collection(NAME), rows, options)
    print(json.dumps({**machine.facts(bebr.get_num_threads()), **result}, indent=2))


if __name__ == "__main__":
    main()
