"""Servers of vectors side by side: throughput, latency, ingest and memory at equal recall, by equal clients.

    python -m benchmarks.serve_peers [--rows 20000] [--clients 1 8 64] [--engines REGEX] [--json peers.json]

bebr by `bebr serve` against Redis 8 (vector sets, Debian's redis-server) and pgvector (HNSW, Debian's
postgresql-17-pgvector), each a server of its own; and against milvus-lite, lancedb and qdrant-edge (pip install
bebr[peers]), which run inside a process. Rows are of a mixture of Gaussians, compared by cosine. Each answers at the
least effort whose recall@10 reaches .96 with as many other queries; one that does not reach .95 with those that are
timed is marked, and wins nothing. Ingest counts training and indexing. What is not installed is said.

Clients share the machine with the server, each with a connection and one call outstanding. Of servers they are one loop
(benchmarks/light_client.py), the same for all: request bytes made before the clock starts, replies read whole and kept,
some of them compared afterwards with what the database's own client gets. Not equal: bebr is reached by TCP, the others
by Unix sockets, which cost less. Databases inside a process are asked by its threads, which its calls may hold up. The
columns of CPU time say what bounds a figure: on cores that both sides share, a client's part of a call is lost to its
server.

Aims, of bebr's row with the most calls/s at 64 clients: 3 times the best peer's at 64, more than the best peer's at 1.
Exit 1 on a missed aim. For the record: --rows 200000 --seconds 5 --rounds 3 on a quiet machine; databases take turns in
each round.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import bebr
from benchmarks import light_client, machine, output, peer_clients
from benchmarks.databases import Absent, Maker, Setting, lance, milvus, pgvector, qdrant, redis, served
from benchmarks.datasets import Floats, Ids
from benchmarks.filters import blocks, mixture, recall
from benchmarks.peer_clients import tree

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
_ROOM = 0.01  # about two standard errors of 500 queries
# How many times the calls/s of the best peer, by clients; 1: more than it has.
AIMS = {64: 3.0, 1: 1.0}


@dataclass
class Ready:
    """A database with its rows. ``memory``: bytes that its process has of its own, 0 in this process."""

    name: str
    version: str
    database: Any
    setting: Setting
    recall: float
    """Of the queries that are timed."""
    ingest: float
    memory: int


@dataclass
class Row:
    """What `Load` says, of so many clients of an engine."""

    engine: str
    clients: int
    per_second: float
    p50: float
    p99: float
    client_us: float
    server_us: float


def exact(x: Floats, queries: Floats, k: int) -> Ids:
    """The k nearest rows of each query, the best first."""
    found = []
    for query in queries:
        scores = x @ query
        best = np.argpartition(-scores, k)[:k]
        found.append(best[np.argsort(-scores[best], kind="stable")])
    return np.array(found)


@dataclass
class Asked:
    """``truth``: the nearest rows of each query, by `exact`."""

    queries: Floats
    truth: Ids

    def recall(self, database: Any, setting: Setting) -> float:
        found = np.full_like(self.truth, -1)
        for row, query in zip(found, self.queries, strict=True):
            ids = list(database.search(query, self.truth.shape[1], None, setting))
            row[: len(ids)] = ids
        return recall(found, self.truth)


def chosen(database: Any, tried: Asked) -> Setting:
    """The first setting whose recall leaves room for other queries, else the last."""
    for setting in getattr(database, "efforts", database.settings):
        if tried.recall(database, setting) >= AIM + _ROOM:
            break
    return setting


def own_memory(pid: int) -> int:
    """Of a process and those that it started, in bytes, what they share once; mapped files are left out."""
    lines = [line for one in tree(pid) for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))) << 10


def prepare(name: str, maker: Maker, folder: Path, x: Floats, tried: Asked, timed: Asked) -> Ready:
    database, version = maker(folder, x.shape[1], ())
    try:
        begin = time.perf_counter()
        for start in range(0, len(x), 65_536):
            some = x[start : start + 65_536]
            database.add(np.arange(start, start + len(some)), some, {})
        database.finish()
        spent = time.perf_counter() - begin
        setting = chosen(database, tried)
        reached = timed.recall(database, setting)
    except BaseException:
        database.close()
        raise
    pid = getattr(database, "pid", None)
    memory = 0 if pid is None else own_memory(pid)
    return Ready(name, version, database, setting, reached, spent, memory)


def load(ready: Ready, queries: Floats, clients: int, seconds: float) -> Row:
    client = light_client if hasattr(ready.database, "wire") else peer_clients
    found = client.loaded(ready.database, queries, clients, seconds, ready.setting)
    return Row(ready.name, clients, **asdict(found))


def run(options: argparse.Namespace, console: Console) -> tuple[list[Ready], list[Row]]:
    source = mixture(options.dim, options.seed)
    x = np.concatenate([block for _, block in blocks(source, options.rows)])
    queries = source.queries(2 * options.queries)
    tried, timed = (Asked(some, exact(x, some, 10)) for some in np.split(queries, 2))
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
                ready = prepare(name, maker, folder, x, tried, timed)
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
        rounds: list[list[Row]] = []
        for _ in range(options.rounds):
            rounds.append([])
            for clients, ready in itertools.product(options.clients, opened):
                rounds[-1].append(load(ready, timed.queries, clients, options.seconds))
                print(rounds[-1][-1], file=sys.stderr, flush=True)
    return opened, [middle(rows) for rows in zip(*rounds, strict=True)]


def middle(rows: Sequence[Row]) -> Row:
    """The medians of the rounds."""
    names = [name for name in asdict(rows[0]) if name not in ("engine", "clients")]
    return Row(rows[0].engine, rows[0].clients, *(float(np.median([getattr(row, n) for row in rows])) for n in names))


@dataclass(frozen=True)
class Verdict:
    """``times``: our calls/s over those of the best peer."""

    clients: int
    asked: float
    ours: str
    peer: str
    times: float

    @property
    def held(self) -> bool:
        return self.times >= self.asked if self.asked > 1 else self.times > 1

    def __str__(self) -> str:
        word = "held" if self.held else "missed"
        asked = f"{self.asked:g} times" if self.asked > 1 else "ahead of"
        who = f"{self.ours}, has {self.times:.2f} times the calls/s of {self.peer}"
        return f"{word}: {asked} the best peer at {self.clients} client{'s' * (self.clients > 1)}; {who}"


def verdicts(good: Collection[str], rows: Sequence[Row]) -> list[Verdict]:
    """Of the numbers of clients that an aim names; none where nothing is to be compared. ``good``: the engines that
    reach the recall."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.engine in good:
            found.setdefault(row.clients, {})[row.engine] = row.per_second
    made = []
    for clients, asked in AIMS.items():
        rates = found.get(clients, {})
        ours = [name for name in rates if name.startswith("bebr")]
        peers = [name for name in rates if not name.startswith("bebr")]
        if ours and peers:
            most = found.get(max(AIMS), rates)
            best, peer = max(ours, key=lambda name: most.get(name, 0.0)), max(peers, key=rates.__getitem__)
            made.append(Verdict(clients, asked, best, peer, rates[best] / rates[peer]))
    return made


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
    table = Table("clients", "server", "calls/s", "p50, ms", "p99, ms", "CPU µs of clients", "of the server")
    for row in rows:
        server = f"{row.server_us:,.0f}" if row.server_us else "among clients'"
        figures = f"{row.per_second:,.0f}", f"{row.p50:.2f}", f"{row.p99:.2f}", f"{row.client_us:,.0f}", server
        table.add_row(str(row.clients), row.engine, *figures)
    console.print(table)
    found = verdicts([one.name for one in opened if one.recall >= AIM], rows)
    for verdict in found:
        console.print(str(verdict))
    if not found:
        console.print("missed: no row of bebr, or none of a peer, reaches the recall at 1 or 64 clients")
    if options.json is not None:
        told = [{name: value for name, value in vars(one).items() if name != "database"} for one in opened]
        facts = machine.facts(bebr.get_num_threads())
        said = [{**asdict(verdict), "held": verdict.held} for verdict in found]
        about: dict[str, Any] = {"servers": told, "rows_of_each": options.rows, "verdicts": said}
        output.save(options.json, facts, list(map(asdict, rows)), **about)
    return 0 if found and all(verdict.held for verdict in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
