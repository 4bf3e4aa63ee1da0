"""Servers of vectors side by side: throughput, latency, ingest and memory at equal recall, by equal clients.

    python -m benchmarks.serve_peers [--rows 20000] [--clients 1 8 64] [--engines REGEX] [--json peers.json]

bebr over gRPC against Redis 8 (vector sets, Debian's redis-server) and pgvector (HNSW, Debian's
postgresql-17-pgvector), each a server of its own; and against milvus-lite, lancedb and qdrant-edge (pip install
bebr[peers]), which run inside the client's process. Rows are of a mixture of Gaussians, compared by cosine. Each
answers at the least effort whose recall@10 reaches .95; one that reaches it at none is marked. Clients are threads of
this process, each with a connection and one call outstanding, and share the machine with the server. Ingest counts
training and indexing. What is not installed is said. For the record: --rows 200000 --seconds 10 --rounds 3 on a quiet
machine; servers take turns in
each round.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import bebr
from benchmarks import machine, output
from benchmarks.databases import Absent, Maker, Setting, lance, milvus, pgvector, qdrant, redis, served
from benchmarks.datasets import Floats, Ids
from benchmarks.filters import blocks, mixture, recall

MAKERS: Mapping[str, Maker] = {
    "bebr, codes and int8": served.kept,
    "bebr, codes": served.codes,
    "redis": redis.make,
    "pgvector": pgvector.make,
    "milvus-lite, in process": milvus.make,
    "lancedb, in process": lance.make,
    "qdrant-edge, in process": qdrant.make,
}
AIM = 0.95


@dataclass
class Ready:
    """A database with its rows. ``memory``: bytes that its process has of its own, 0 in this process."""

    name: str
    version: str
    database: Any
    setting: Setting
    recall: float
    ingest: float
    memory: int


@dataclass
class Row:
    engine: str
    clients: int
    per_second: float
    p50: float
    p99: float


def exact(x: Floats, queries: Floats, k: int) -> Ids:
    found: Ids = np.argsort(-(queries @ x.T), axis=1, kind="stable")[:, :k]
    return found


def chosen(database: Any, queries: Floats, truth: Ids) -> tuple[Setting, float]:
    """The first setting that reaches the aim, else the last; and its recall."""
    for setting in database.settings:
        found = np.full_like(truth, -1)
        for row, query in zip(found, queries, strict=True):
            ids = list(database.search(query, truth.shape[1], None, setting))
            row[: len(ids)] = ids
        reached = recall(found, truth)
        if reached >= AIM:
            break
    return setting, reached


def own_memory(pid: int) -> int:
    """Of a process and those that it started, in bytes, what they share once; mapped files are left out."""
    children = [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own = sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return (own << 10) + sum(own_memory(int(child)) for child in children)


def prepare(name: str, maker: Maker, folder: Path, x: Floats, queries: Floats, truth: Ids) -> Ready:
    database, version = maker(folder, x.shape[1], ())
    try:
        begin = time.perf_counter()
        for start in range(0, len(x), 65_536):
            some = x[start : start + 65_536]
            database.add(np.arange(start, start + len(some)), some, {})
        database.finish()
        spent = time.perf_counter() - begin
        setting, reached = chosen(database, queries, truth)
    except BaseException:
        database.close()
        raise
    pid = getattr(database, "pid", None)
    memory = 0 if pid is None else own_memory(pid)
    return Ready(name, version, database, setting, reached, spent, memory)


def load(ready: Ready, queries: Floats, clients: int, seconds: float) -> Row:
    """Calls a second and ms of each, of so many clients at once."""
    again = getattr(ready.database, "again", None)
    connections = [ready.database if again is None else again() for _ in range(clients)]
    times: list[list[float]] = [[] for _ in connections]
    ready_, over = threading.Barrier(clients + 1), threading.Event()

    def client(number: int) -> None:
        mine, connection = times[number], connections[number]
        connection.search(queries[number % len(queries)], 10, None, ready.setting)
        ready_.wait()
        at = number
        while not over.is_set():
            begin = time.perf_counter()
            connection.search(queries[at % len(queries)], 10, None, ready.setting)
            mine.append(1e3 * (time.perf_counter() - begin))
            at += 61

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    ready_.wait()
    begin = time.perf_counter()
    time.sleep(seconds)
    over.set()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - begin
    for connection in connections:
        if connection is not ready.database:
            connection.close()
    ms = np.concatenate(times)
    return Row(ready.name, clients, len(ms) / spent, float(np.median(ms)), float(np.quantile(ms, 0.99)))


def run(options: argparse.Namespace, console: Console) -> tuple[list[Ready], list[Row]]:
    source = mixture(options.dim, options.seed)
    x = np.concatenate([block for _, block in blocks(source, options.rows)])
    queries = source.queries(options.queries)
    truth = exact(x, queries, 10)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place.chmod(0o755)  # a server may run as another user
        opened = []
        for name, maker in MAKERS.items():
            if not re.search(options.engines, name):
                continue
            folder = place / re.sub(r"\W+", "-", name)
            folder.mkdir()
            try:
                ready = prepare(name, maker, folder, x, queries, truth)
            except Absent as absent:
                console.print(f"{name}: {absent}")
                continue
            except Exception as error:  # whatever a peer raises: the others are still compared
                if name.startswith("bebr"):
                    raise
                console.print(f"{name} is left out: {error!r}")
                continue
            stack.callback(ready.database.close)
            opened.append(ready)
            console.print(f"{name} {ready.version}: {options.rows:,} rows in {ready.ingest:.1f} s")
        rounds = [
            [load(ready, queries, clients, options.seconds) for clients in options.clients for ready in opened]
            for _ in range(options.rounds)
        ]
    return opened, [middle(rows) for rows in zip(*rounds, strict=True)]


def middle(rows: Sequence[Row]) -> Row:
    """The medians of the rounds."""
    figures = (float(np.median([getattr(row, name) for row in rows])) for name in ("per_second", "p50", "p99"))
    return Row(rows[0].engine, rows[0].clients, *figures)


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--engines", default=".", help="a regular expression")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    console = console or output.console()
    opened, rows = run(options, console)
    built = Table("server", "version", "rows/s in", "MiB of memory", "setting", "recall@10")
    for one in opened:
        setting = " ".join(f"{name}={value}" for name, value in one.setting.items()) or "default"
        reached = f"{one.recall:.3f}{'' if one.recall >= AIM else ' ✗'}"
        memory = f"{one.memory / 2**20:.0f}" if one.memory else "in this process"
        built.add_row(one.name, one.version, f"{options.rows / one.ingest:,.0f}", memory, setting, reached)
    console.print(built)
    table = Table("clients", "server", "calls/s", "p50, ms", "p99, ms")
    for row in rows:
        table.add_row(str(row.clients), row.engine, f"{row.per_second:,.0f}", f"{row.p50:.2f}", f"{row.p99:.2f}")
    console.print(table)
    if options.json is not None:
        told = [{name: value for name, value in vars(one).items() if name != "database"} for one in opened]
        facts = machine.facts(bebr.get_num_threads())
        output.save(options.json, facts, list(map(asdict, rows)), servers=told, rows_of_each=options.rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
