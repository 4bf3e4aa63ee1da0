"""python -m benchmarks.cluster_faults [--events leaf,node] [--times 5] [--minutes 24] [--rate 30] [--json FILE]

The table of docs/cluster.md: a part of a cluster is killed or frozen while it is searched and written.

    leaf      a leaf is killed by kill -9
    root      a root is killed by kill -9
    postgres  PostgreSQL is stopped at once, and started
    head      Ray's head and its node are killed, and started after 5 s; behind it is Debian's redis-server
    node      a node with a root is killed, and comes back once the others have all replicas
    frozen    a node with a root is frozen for 30 s
    store     the object store is frozen for 60 s
    single    with one replica a shard, a leaf is killed: searches take what there is, and say what is missing

Each event has its turn in every round, until there were so many rounds, or the minutes are over; what there is by then
is in the table, and after every run in FILE. An event that fails is noted, and what it left is put in order; where that
cannot be done, it ends. The object store is SeaweedFS; `--store moto` takes moto's server, which only acts like one.
Needs Linux, `pip install 'bebr[ray,test,bench]'` and PostgreSQL's server.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from benchmarks.cluster_faults.load import Load
from benchmarks.cluster_faults.running import Nodes, Redis, frozen, send
from benchmarks.datasets import Floats
from benchmarks.machine import facts
from benchmarks.object_stores import KINDS, ObjectStore
from benchmarks.output import console, save
from benchmarks.postgres import Postgres

ROWS, DIM, REPLICAS = 20_000, 64, 2
BUCKET = "bebr"
FROZEN, AWAY, HEADLESS = 30.0, 60.0, 5.0  # seconds


class Faults:
    """Each method of an event's name harms something; what does not come back by itself, `restore` brings back."""

    def __init__(self, nodes: Nodes, postgres: Postgres, store: ObjectStore) -> None:
        self._nodes, self._postgres, self._store = nodes, postgres, store

    def leaf(self) -> None:
        send([next(one.pid for one in self._nodes.members() if one.kind == "leaf")], signal.SIGKILL)

    single = leaf

    def root(self) -> None:
        send([next(one.pid for one in self._nodes.members() if one.kind == "root")], signal.SIGKILL)

    def postgres(self) -> None:
        self._postgres.stop()
        self._postgres.start()

    def head(self) -> None:
        send(self._nodes.of_node(0), signal.SIGKILL)
        time.sleep(HEADLESS)
        self._nodes.restore()

    def node(self) -> None:
        send(self._nodes.with_root(), signal.SIGKILL)

    def frozen(self) -> None:
        with frozen(self._nodes.with_root()):
            time.sleep(FROZEN)

    def store(self) -> None:
        with frozen([self._store.process.pid]):
            time.sleep(AWAY)

    def restore(self, wait: float) -> None:
        """Has all that there is to be; TimeoutError where that takes longer than `wait` seconds."""
        self._postgres.start()
        self._nodes.scale("--local", "3", "--replicas", str(REPLICAS))
        self.until_full(REPLICAS, wait)

    def until_full(self, replicas: int, wait: float) -> tuple[float, float]:
        """When, by the monotonic clock, all leaves were there, and all roots, since when they are."""
        begun = time.monotonic()
        since = [begun, begun]
        while not all(full := self._nodes.are_full(replicas, ROWS)):
            now = time.monotonic()
            since = [there if one else now for there, one in zip(since, full, strict=True)]
            if now > begun + wait:
                raise TimeoutError(
                    f"after {wait:g} s not all shards had {replicas} replicas, or not all roots answered"
                )
            time.sleep(0.25)
        return since[0], since[1]


EVENTS = ("leaf", "root", "postgres", "head", "node", "frozen", "store", "single")


def one_run(event: str, faults: Faults, nodes: Nodes, q: Floats, rate: float, wait: float) -> dict[str, Any]:
    """An event while searches and writes go on, until replicas are full again; `seconds`: since the harm has ended;
    `leaves_lacked`, `roots_lacked`: until when some were seen to be away."""
    replicas = 1 if event == "single" else REPLICAS
    if event == "single":
        nodes.scale("--replicas", "1")
        faults.until_full(1, wait)
    with Load(nodes.roots, "docs", q, rate, partial=event == "single") as load:
        time.sleep(3.0)
        begun, flying = time.monotonic(), load.in_flight
        getattr(faults, event)()
        ended = time.monotonic()
        time.sleep(1.0)  # what was lost is seen by then
        leaves, roots = (since - ended for since in faults.until_full(replicas, wait))
        seconds = time.monotonic() - ended
        time.sleep(2.0)
        found = {
            **{"event": event, "harmed": round(ended - begun, 1), "seconds": round(seconds, 1)},
            **{"leaves_lacked": round(leaves, 1), "roots_lacked": round(roots, 1)},
            **{"searches": load.searched, "failed": len(load.failures), "in_flight": flying},
            **{"again": load.again, "slowest": round(load.slowest, 2), "missing": _counts(load.missing)},
            **{"acknowledged": len(load.acknowledged), "refused": load.refused, "lost": load.lost()},
            "failures": _counts(load.failures),
        }
    if event in ("node", "frozen", "single"):
        faults.restore(wait)
    return found


def _counts(of: list[Any]) -> dict[str, int]:
    return dict(Counter(str(one) for one in of).most_common(5))


def rounds(
    events: list[str], times: int, end: float, run: Callable[[str], dict[str, Any]], restore: Callable[[], None]
) -> Any:
    """Yields what there is after every run, until all are done, or there is no time left."""
    for _ in range(times):
        for event in events:
            if time.monotonic() > end:
                return
            try:
                yield run(event)
            except Exception as error:
                yield {"event": event, "error": f"{type(error).__name__}: {error}"}
                try:
                    restore()
                except Exception as worse:
                    print(f"what {event} left cannot be put in order: {worse}", file=sys.stderr)
                    return


def table(runs: list[dict[str, Any]]) -> Table:
    """A row an event."""
    made = Table(
        *("event", "runs", "searches", "failed", "worst: failed / in flight", "asked again", "slowest s"),
        *("shards missing", "written", "lost", "full again after s", "runs that broke off"),
    )
    for event in EVENTS:
        of = [one for one in runs if one["event"] == event and "error" not in one]
        broken = sum(one["event"] == event and "error" in one for one in runs)
        if not of:
            if broken:
                made.add_row(event, "0", *[""] * 9, str(broken))
            continue
        worst = max(of, key=lambda one: one["failed"] - one["in_flight"])
        after = sorted(one["seconds"] for one in of)
        sums = {key: sum(one[key] for one in of) for key in ("searches", "failed", "again", "acknowledged", "lost")}
        missing = sum(sum(one["missing"].values()) for one in of)
        made.add_row(
            *(event, str(len(of)), f"{sums['searches']:,}", str(sums["failed"])),
            *(f"{worst['failed']} / {worst['in_flight']}", str(sums["again"]), str(max(one["slowest"] for one in of))),
            *(str(missing), f"{sums['acknowledged']:,}", str(sums["lost"])),
            *(f"{after[len(after) // 2]} (at most {after[-1]})", str(broken)),
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default=",".join(EVENTS), help="some of: " + ", ".join(EVENTS))
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=24.0, help="after which no run is begun")
    parser.add_argument("--rate", type=float, default=30.0, help="searches a second")
    parser.add_argument("--wait", type=float, default=120.0, help="seconds for the cluster, and for full replicas")
    parser.add_argument("--store", choices=KINDS, default=KINDS[0], help="what speaks S3")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    events = options.events.split(",")
    if unknown := set(events) - set(EVENTS):
        parser.error(f"no event {min(unknown)}: want some of {', '.join(EVENTS)}")
    if "head" in events and not Redis.is_there():
        print("head is left out: without Redis behind it, all that Ray started ends with it", file=sys.stderr)
        events.remove("head")
    end, runs = time.monotonic() + 60 * options.minutes, list[dict[str, Any]]()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what was started, too
    x = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bebr-faults-", dir="/tmp")))
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        (folder / "pg").mkdir()
        folder.chmod(0o755)
        store = ObjectStore(options.store, folder, BUCKET)
        stack.callback(store.close)
        os.environ.update(store.environment)
        if Redis.is_there():
            stack.callback(Redis(folder).process.kill)
        postgres = Postgres(folder / "pg")
        stack.enter_context(_ended(postgres))
        nodes = Nodes(postgres, f"s3://{BUCKET}/faults", options.wait)
        stack.callback(nodes.down)
        with bebr.connect(nodes.roots()[0], timeout=600) as db:
            docs = db.create_collection("docs", dim=DIM)
            docs.upsert(range(ROWS), x)
            docs.flush()
        faults = Faults(nodes, postgres, store)
        faults.until_full(REPLICAS, options.wait)
        print(f"the cluster has {ROWS:,} rows", flush=True)

        def run(event: str) -> dict[str, Any]:
            return one_run(event, faults, nodes, x[:256], options.rate, options.wait)

        for found in rounds(events, options.times, end, run, lambda: faults.restore(options.wait)):
            runs.append(found)
            print(found, flush=True)
            if options.json:
                save(options.json, facts(1), runs, load=os.getloadavg(), store=options.store)
        console().print(table(runs))


@contextlib.contextmanager
def _ended(postgres: Postgres) -> Any:
    """It is stopped after the block, unless it is."""
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            postgres.stop()


if __name__ == "__main__":
    main()
