"""What a call costs a server beyond its search: with the native front and without it, in turns.

    python -m benchmarks.calls [--client] [--rows 2000] [--rounds 3] [--seconds 2] [--json calls.json]

A light client over HTTP/2 (benchmarks/call_load.cpp) asks for one query at a time, 1, 8 and 64 calls outstanding.

* **CPU** is that of all threads of the server's process, so that it is firm on a busy machine too; calls/s are not.
* **search** is CPU time, too, of a query in kernel calls as large as those that answer the load: the server's process
  counts them under a load of its own, since that costs time, and makes such calls in one thread (`call_server.py`).
* **p50** is what `Collection.search` of the Python client waits, and in the same loop what it waits on the same rows in
  this process. **Its connection's** share of that: the same searches from bytes to bytes. **gRPC's**: so by its Python
  client, which `bebr.connect` passes by where it can (`bebr.serve.direct`).
* **echo** is CPU time of a server that only reads as many bytes and sends as many: what the system takes of a call.
* **two cores**: calls/s of a server that has two cores over one that has one, four connections, the client on others.
  Where there are no others (fewer than four cores), twice the CPU of a call on one core over that on two: what is lost
  to more loops and smaller batches shows, waiting for locks does not.

``--client``: only what the Python client waits. Exit 1 on a missed aim.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from bebr.arrays import Floats
from bebr.collection.protocol import Keep
from benchmarks import call_load, machine, output
from benchmarks.call_floors import bare_search, direct_search, echoed_us
from benchmarks.call_load import Answered
from benchmarks.call_server import Serving, serving

# µs of server CPU beyond the search, by calls outstanding.
AIMS = {1: 60.0, 8: 25.0, 64: 20.0}
# Calls/s of the front over those of Python, 64 outstanding; µs of the Python client beyond an embedded search; calls/s
# of two cores over one.
TIMES_PYTHON, CLIENT_US, TWO_CORES = 8.0, 200.0, 1.7
NAME, DIM = "docs", 384
_WAITS = 400  # searches of each kind in a round
_NOTED_SECONDS = 0.5


@dataclass(frozen=True)
class Load:
    """Times in µs. ``server_us``, ``client_us``: CPU of a call; ``searched_us``: of which its search."""

    kind: str
    outstanding: int
    calls_per_second: float
    p50_us: float
    p99_us: float
    server_us: float
    client_us: float
    searched_us: float = 0.0

    @property
    def beyond_us(self) -> float:
        return self.server_us - self.searched_us


@dataclass(frozen=True)
class Waits:
    """p50 of a search, µs: by the Python client, by its connection alone, by gRPC's client alone, and in this
    process."""

    client: float
    direct: float
    bare: float
    embedded: float


def rows_of(rows: int) -> Floats:
    rng = np.random.default_rng(0)
    falling = np.sqrt(np.arange(1, DIM + 1, dtype=np.float32))
    return (rng.standard_normal((rows, DIM), np.float32) / falling).astype(np.float32)


def make(path: Path, x: Floats, keep: Keep) -> None:
    bz = bebr.train(x[:20_000], bytes_per_vector=52, metric="cosine", seed=0)
    with bebr.open(path) as db:
        made = db.create_collection(NAME, bz, keep=keep, retrain=False)
        made.upsert(range(len(x)), x)
        made.settle()


def loaded(server: Serving, outstanding: int, connections: int, seconds: float, on: Sequence[int]) -> Answered:
    """What the light client on these cores says of a server under its load."""
    address, pids = f"{server.host}:{server.port}", [server.process.pid]
    return call_load.loaded([address], [NAME], pids, DIM, outstanding, connections, seconds, on)


def measured(server: Serving, kind: str, seconds: float, on: Sequence[int]) -> list[Load]:
    """At 1, 8 and 64 calls outstanding on one connection."""
    loads = []
    for outstanding in AIMS:
        found = loaded(server, outstanding, 1, seconds, on)
        server.note()
        loaded(server, outstanding, 1, _NOTED_SECONDS, on)
        waits = found.calls_per_second, found.p50_us, found.p99_us
        loads.append(Load(kind, outstanding, *waits, found.server_us, found.client_us, server.searched_us()))
        print(loads[-1], file=sys.stderr, flush=True)
    return loads


def waited(target: str, path: Path, x: Floats) -> Waits:
    """p50, each search beside an embedded one."""
    times: dict[str, list[float]] = {"embedded": [], "client": [], "direct": [], "bare": []}
    channel, bare = bare_search(target, NAME, x[:_WAITS])
    connection, direct = direct_search(target, NAME, x[:_WAITS])
    with channel, connection, bebr.connect(target) as client, bebr.open(path) as db:
        remote, embedded = client.collection(NAME), db.collection(NAME)
        searches: dict[str, Callable[[int], object]] = {
            "client": lambda i: remote.search(x[i], 10),
            "direct": direct,
            "bare": bare,
        }
        for i in range(min(_WAITS, len(x))):
            for kind, search in searches.items():
                for name, one in (("embedded", lambda i: embedded.search(x[i], 10)), (kind, search)):
                    begin = time.perf_counter()
                    one(i)
                    times[name].append((time.perf_counter() - begin) * 1e6)
    return Waits(**{name: float(np.median(taken)) for name, taken in times.items()})


def two_cores(folder: Path, seconds: float) -> float:
    """Of one round."""
    cores = sorted(os.sched_getaffinity(0))
    others = cores[2:] if len(cores) >= 4 else cores
    found = []
    for own in (cores[:1], cores[:2]):
        with serving(str(folder), "front", own) as server:
            found.append(loaded(server, 64, 4, seconds, others))
    one, two = found
    if len(cores) >= 4:
        return two.calls_per_second / one.calls_per_second
    return 2 * one.server_us / two.server_us


def medians(loads: Sequence[Load]) -> list[Load]:
    """Of each kind and number outstanding, over the rounds."""
    of: dict[tuple[str, int], list[Load]] = {}
    for load in loads:
        of.setdefault((load.kind, load.outstanding), []).append(load)
    figures = [name for name in asdict(loads[0]) if name not in ("kind", "outstanding")]
    found = []
    for some in of.values():
        middle: dict[str, Any] = {name: float(np.median([getattr(one, name) for one in some])) for name in figures}
        found.append(replace(some[0], **middle))
    return found


Verdict = tuple[str, float, float, bool]
"""An aim in words, what it asks, what was reached, and whether that is met."""


def client_verdict(waits: Sequence[Waits]) -> Verdict:
    us = float(np.median([wait.client - wait.embedded for wait in waits]))
    return "p50 of the Python client beyond embedded, µs", CLIENT_US, us, us <= CLIENT_US


def client_floors(waits: Sequence[Waits]) -> dict[str, float]:
    return {
        "p50 of the client's connection alone beyond embedded, µs": float(
            np.median([wait.direct - wait.embedded for wait in waits])
        ),
        "p50 of gRPC's Python client alone beyond embedded, µs": float(
            np.median([wait.bare - wait.embedded for wait in waits])
        ),
    }


def verdicts(loads: Sequence[Load], cores: float) -> list[Verdict]:
    """Of each aim of a server."""
    of = {(load.kind, load.outstanding): load for load in loads}
    found = [(f"CPU beyond the search, {n} outstanding, µs", aim, of["front", n].beyond_us) for n, aim in AIMS.items()]
    lines = [(*line, line[2] <= line[1]) for line in found]
    times = of["front", 64].calls_per_second / of["python", 64].calls_per_second
    lines.append(("calls/s over the Python server's, 64 outstanding", TIMES_PYTHON, times, times >= TIMES_PYTHON))
    lines.append(("two cores over one", TWO_CORES, cores, cores >= TWO_CORES))
    return lines


def load_table(loads: Sequence[Load]) -> Table:
    table = Table("server", "outstanding", "calls/s", "p50 µs", "p99 µs", "server CPU µs", "search µs", "beyond µs")
    for load in sorted(loads, key=lambda load: (load.kind, load.outstanding)):
        figures = load.p50_us, load.p99_us, load.server_us, load.searched_us, load.beyond_us
        table.add_row(load.kind, str(load.outstanding), f"{load.calls_per_second:,.0f}", *(f"{f:.1f}" for f in figures))
    return table


def aim_table(lines: Sequence[Verdict], floors: dict[str, float]) -> Table:
    table = Table("aim", "asked", "reached", "")
    for words, aim, reached, met in lines:
        table.add_row(words, f"{aim:g}", f"{reached:.2f}", "met" if met else "[bold]missed[/bold]")
    for words, figure in floors.items():
        table.add_row(words, "", f"{figure:.2f}", "")
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", action="store_true", help="only what the Python client waits")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--keep", choices=["float16", "int8"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bebr.set_num_threads(1)
    x = rows_of(options.rows)
    cores = sorted(os.sched_getaffinity(0))
    loads: list[Load] = []
    waits: list[Waits] = []
    echoes: list[float] = []
    scaling: list[float] = []
    with tempfile.TemporaryDirectory() as path:
        served, here = Path(path) / "served", Path(path) / "here"
        for folder in (served, here):
            make(folder, x, options.keep)
        for _ in range(options.rounds):
            for kind in ("front",) if options.client else ("front", "python"):
                with serving(str(served), kind, cores) as server:
                    if kind == "front":
                        waits.append(waited(f"{server.host}:{server.port}", here, x))
                    if not options.client:
                        loads += measured(server, kind, options.seconds, cores)
            if not options.client:
                scaling.append(two_cores(served, options.seconds))
                echoes.append(echoed_us(options.seconds))
    lines, floors = [client_verdict(waits)], client_floors(waits)
    shown: list[Table] = []
    if not options.client:
        found = medians(loads)
        lines += verdicts(found, float(np.median(scaling)))
        floors["CPU of an echo, 1 outstanding, µs"] = float(np.median(echoes))
        shown.append(load_table(found))
    for table in (*shown, aim_table(lines, floors)):
        output.console().print(table)
    about: dict[str, Any] = {"options": {**vars(options), "json": None}, "two_cores": scaling, "floors_us": floors}
    about["waits_us"] = list(map(asdict, waits))
    if options.json:
        output.save(options.json, machine.facts(1), list(map(asdict, loads)), verdicts=lines, **about)
    return int(not all(met for *_, met in lines))


if __name__ == "__main__":
    sys.exit(main())
