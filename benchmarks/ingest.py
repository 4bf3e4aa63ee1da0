"""Bulk loads of a server, and searches beside them: rows a second, latencies, and how soon it is there again.

    python -m benchmarks.ingest [--rows 1000000] [--bytes 52] [--float16] [--json ingest.json]

Rows of 384 dimensions with payloads of about 100 bytes, of a mixture of Gaussians, by one client beside the server. How
they come: `embedded` (no server), `upserts` (a call for every message of some 2,500 rows), `stream` (calls of 50,000
rows, which the client streams), `streams` (the same by two threads), `searched` (the same, while another process
searches `--rate` times a second, one query each, with payloads; beside what that process waited stands what share of
them the server answered within so many ms, for the rest is its own wait for a processor). CPU seconds of client and
server say what bounds a load. Then the last collection settles, until the server rests; searches are timed again, and
recall@10 is compared with that of all codes. At last the server ends and starts again, and once more after kill -9 in
the midst of a load: seconds until it has answered a search. Rows are made before they come; more than two million
lie in a file of the temporary folder (TMPDIR), 8 GB of 10^7 rows.

Aims: 50,000 rows/s on two processors; p50 of a search 1.5 ms once settled, 3 times that while rows come, never 100 ms;
1 s after a restart, 3 s after a kill.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import signal
import socket
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import bebr
from bebr.arrays import normalized
from bebr.exact import best, recall
from bebr.store.workers.compaction import CALM
from benchmarks import machine, output
from benchmarks.concurrency import percentiles
from benchmarks.filters import mixture
from benchmarks.ingested_rows import Rows
from benchmarks.servers import started

NAME, K = "ingested", 10
WAYS = ("embedded", "upserts", "stream", "streams", "searched")
_MESSAGE, _CALL, _TRAIN = 2500, 50_000, 65_536
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """One way of loading; CPU in seconds. `in_server`: the share of the searches beside it that the server answered
    within so many ms of their arrival. `settled`, of the last way: seconds until the server rested; `peak`: the most
    memory that it had by then, `disk`: what is in its folder, in bytes."""

    way: str
    rows: int
    seconds: float
    client_cpu: float
    server_cpu: float
    segments: int
    searches: dict[str, float] = field(default_factory=dict)
    in_server: dict[str, float] = field(default_factory=dict)
    settled: float = 0.0
    peak: int = 0
    disk: int = 0

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


@dataclass
class After:
    """Of the settled collection; `of_a_scan`: the share that it finds of what a scan of all codes finds. Seconds of a
    start until the first search is answered."""

    segments: int
    searches: dict[str, float]
    recall: float
    recall_of_codes: float
    of_a_scan: float
    restart: float
    after_kill: float


def load(collection: Any, rows: Rows, size: int, threads: int = 1) -> int:
    """Upserts of `size` rows, by so many threads; how many rows."""

    def upsert(begin: int) -> int:
        some = slice(begin, min(begin + size, len(rows)))
        return int(collection.upsert(np.arange(some.start, some.stop), rows.vectors(some), rows.payloads(some)))

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(upsert, range(0, len(rows), size)))


def search_steadily(target: str, queries: Any, rate: float, ready: Any, stop: Any, answer: Any) -> None:
    """A process: searches of one query, `rate` a second, from `ready` until `stop`; sends the seconds of each."""
    spent: list[float] = []
    with bebr.connect(target) as client:
        collection = client.collection(NAME)
        collection.search(queries[0], K, with_payloads=True)
        ready.set()
        due = time.perf_counter()
        while not spent or not stop.is_set():
            start = time.perf_counter()
            collection.search(queries[len(spent) % len(queries)], K, with_payloads=True)
            spent.append(time.perf_counter() - start)
            due = max(due + 1 / rate, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))
    answer.send(spent)


@contextmanager
def searching(target: str, queries: Any, rate: float) -> Iterator[list[float]]:
    """Searches beside the block; the list has their seconds after it."""
    context = multiprocessing.get_context("spawn")
    ready, stop, (receiver, sender) = context.Event(), context.Event(), context.Pipe(duplex=False)
    process = context.Process(target=search_steadily, args=(target, queries, rate, ready, stop, sender))
    process.start()
    sender.close()  # here: so that the process's end is seen
    ready.wait(60)
    spent: list[float] = []
    try:
        yield spent
    finally:
        stop.set()
        spent += receiver.recv()
        process.join()


def cpu_of(process: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def peak_of(process: int) -> int:
    """The most bytes that a process had resident so far, mapped files among them."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def disk_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def settle(process: int, most: float = 600.0) -> float:
    """Seconds until a process uses less than a twentieth of a processor, and did so for longer than a merge waits for
    the last write."""
    start = busy = time.perf_counter()
    while (now := time.perf_counter()) < min(busy + CALM + 2, start + most):
        before = cpu_of(process)
        time.sleep(0.5)
        if cpu_of(process) - before >= 0.025:
            busy = now + 0.5
    return busy - start


def timed(way: str, collection: Any, rows: Rows, process: int) -> Load:
    size, threads = _MESSAGE if way == "upserts" else _CALL, 2 if way in ("streams", "searched") else 1
    client, server, start = time.process_time(), cpu_of(process), time.perf_counter()
    done = load(collection, rows, size, threads)
    seconds = time.perf_counter() - start
    spent = time.process_time() - client
    return Load(way, done, seconds, spent, cpu_of(process) - server, collection.stats().segments)


def latencies(collection: Any, queries: Any, count: int) -> dict[str, float]:
    spent = []
    for number in range(count + 20):  # the first warm up
        start = time.perf_counter()
        collection.search(queries[number % len(queries)], K, with_payloads=True)
        spent.append(time.perf_counter() - start)
    return percentiles(spent[20:])


def free_port() -> int:
    """Of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def answered_within(metrics: int) -> dict[str, float]:
    """The share of all searches so far that the server had answered within so many ms, by the `metrics` at a port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    of_searches = [line for line in lines if line.startswith("bebr_call_seconds_bucket{") and "Points/Search" in line]
    counts = {float(re.findall(r'le="([^"]+)"', line)[0]): float(line.rsplit(" ", 1)[1]) for line in of_searches}
    return {f"{1e3 * bound:g}": count / counts[float("inf")] for bound, count in counts.items() if bound <= 0.2}


@contextmanager
def serving(folder: Path, metrics: int | None = None) -> Iterator[tuple[Any, str, int, float]]:
    """A client, address, process, and the seconds until the server listened. `metrics`: a port for them."""
    start = time.perf_counter()
    more = () if metrics is None else ("--metrics", str(metrics))
    with started("-m", "bebr", "serve", str(folder), "--port", "0", *more) as (target, process):
        listening = time.perf_counter() - start
        with bebr.connect(target) as client:
            yield client, target, process, listening


def found_again(folder: Path, query: Any) -> float:
    """Seconds from the start of the server to the answer of a search."""
    start = time.perf_counter()
    with serving(folder) as (client, _, _, _):
        client.collection(NAME).search(query, K)
        return time.perf_counter() - start


def killed(folder: Path, rows: Rows, seconds: float) -> None:
    """Kills the server while the rows come again."""
    with serving(folder) as (client, _, process, _):
        collection = client.collection(NAME)
        timer = threading.Timer(seconds, os.kill, [process, signal.SIGKILL])
        timer.start()
        with suppress(Exception):  # of whatever kind: the server is gone
            while not timer.finished.is_set():
                load(collection, rows, _MESSAGE)
        timer.join()


def measure(options: argparse.Namespace, folder: Path, console: Console) -> tuple[list[Load], After | None]:
    source = mixture(options.dim, options.seed)
    rows = Rows(source, options.rows, np.float16 if options.float16 else np.float32, folder)
    queries = np.asarray(source.queries(options.queries), np.float32)
    if options.model is not None:
        model = bebr.Binarizer.load(options.model)
    else:
        sample = rows.vectors(slice(0, _TRAIN)).astype(np.float32)
        model = bebr.train(sample, bytes_per_vector=options.bytes, metric="cosine", seed=0)
    loads: list[Load] = []
    for way in options.ways:
        place = folder / way
        if way == "embedded":
            with bebr.open(place) as db:
                loads.append(timed(way, db.create_collection(NAME, model, keep=options.keep), rows, os.getpid()))
                loads[-1].server_cpu = 0.0
        else:
            metrics = free_port() if way == "searched" else None
            with serving(place, metrics) as (client, target, process, _):
                collection = client.create_collection(NAME, model, keep=options.keep)
                if metrics is not None:
                    with searching(target, queries, options.rate) as spent:
                        loads.append(timed(way, collection, rows, process))
                    loads[-1].searches, loads[-1].in_server = percentiles(spent), answered_within(metrics)
                else:
                    loads.append(timed(way, collection, rows, process))
                if way == options.ways[-1]:
                    loads[-1].settled = settle(process, 600 * max(1, len(rows) / 1e6))
                    loads[-1].peak, loads[-1].disk = peak_of(process), disk_of(place)
                    settled = latencies(collection, queries, options.searches)
                    found = collection.search(queries, K).ids, collection.search(queries, K, exact=True).ids
                    segments = collection.stats().segments
        console.print(f"{way}: {loads[-1].rate:,.0f} rows/s")
        if loads[-1].in_server:
            shares = (f"{share:.1%} within {ms}" for ms, share in loads[-1].in_server.items())
            console.print(f"of the searches beside it, the server answered {', '.join(shares)} ms")
    if options.ways[-1] == "embedded":
        return loads, None
    truth = best(map(normalized, rows.floats()), normalized(queries), K, "cosine")
    restart = statistics.median(found_again(place, queries[0]) for _ in range(options.restarts))
    killed(place, rows, options.kill_after)
    after_kill = found_again(place, queries[0])
    reached, of_codes = (recall(ids, truth) for ids in found)
    return loads, After(segments, settled, reached, of_codes, recall(*found), restart, after_kill)


def tables(loads: Sequence[Load], after: After | None) -> list[Table]:
    """What misses an aim is marked."""
    first = Table(
        "rows come",
        "rows/s",
        "client, CPU s",
        "server, CPU s",
        "segments",
        "settled, s",
        "peak, GB",
        "disk, GB",
        "search p50, ms",
        "p99",
        "worst",
    )
    for one in loads:
        rate = f"{one.rate:,.0f}{' ✗' if one.rate < 50_000 else ''}"
        cpu = f"{one.client_cpu:.1f}", f"{one.server_cpu:.1f}"
        first.add_row(
            one.way,
            rate,
            *cpu,
            str(one.segments),
            f"{one.settled:.0f}" if one.settled else "",
            *(f"{size / 1e9:.2f}" if size else "" for size in (one.peak, one.disk)),
            *_latencies(one.searches, 4.5),
        )
    if after is None:
        return [first]
    second = Table(
        *("segments", "search p50, ms", "p99", "worst", "recall", "of all codes", "of a scan"),
        *("restart, s", "after kill -9, s"),
    )
    recalled = f"{after.recall:.4f}{' ✗' if after.recall < after.recall_of_codes - 0.005 else ''}"
    again = (f"{s:.2f}{' ✗' if s >= most else ''}" for s, most in ((after.restart, 1), (after.after_kill, 3)))
    codes = (f"{after.recall_of_codes:.4f}", f"{after.of_a_scan:.4f}")
    second.add_row(str(after.segments), *_latencies(after.searches, 1.5), recalled, *codes, *again)
    return [first, second]


def _latencies(found: dict[str, float], most: float) -> list[str]:
    if not found:
        return ["", "", ""]
    p50, p99, worst = (found[name] for name in ("p50_ms", "p99_ms", "worst_ms"))
    return [f"{p50:.2f}{' ✗' if p50 > most else ''}", f"{p99:.2f}", f"{worst:.1f}{' ✗' if worst >= 100 else ''}"]


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--bytes", type=int, default=52)
    parser.add_argument("--model", type=Path, help="a binarizer's file, in place of training one")
    parser.add_argument("--keep", choices=["float16", "int8"], help="vectors beside the codes")
    parser.add_argument("--float16", action="store_true", help="vectors travel at half the size")
    parser.add_argument(
        "--ways", type=lambda given: given.split(","), default=list(WAYS), help="the last one is asked on"
    )
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--searches", type=int, default=1000, help="timed once it has settled")
    parser.add_argument("--rate", type=float, default=20.0, help="searches a second while rows come")
    parser.add_argument("--kill-after", type=float, default=4.0, help="seconds of a load until the kill")
    parser.add_argument("--restarts", type=int, default=3, help="the median counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    console = console or output.console()
    with tempfile.TemporaryDirectory() as folder:
        loads, after = measure(options, Path(folder), console)
    for table in tables(loads, after):
        console.print(table)
    if options.json is not None:
        figures = [{**asdict(one), "rows_a_second": one.rate} for one in loads] + (
            [] if after is None else [asdict(after)]
        )
        output.save(options.json, machine.facts(bebr.get_num_threads()), figures, rows_in_all=options.rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
