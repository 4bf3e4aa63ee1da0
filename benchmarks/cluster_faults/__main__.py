"""python -m benchmarks.cluster_faults [--events leaf,node] [--times 5] [--rate 30] [--json FILE]

Needs Linux, `pip install 'bebr[ray,test,bench]'` and PostgreSQL's server. The table of docs/cluster.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from bebr.cluster.census import census
from bebr.cluster.ray_cluster import RayCluster, connected
from benchmarks.cluster_faults.load import Load
from benchmarks.cluster_faults.running import Nodes, Postgres, Store, frozen, send
from benchmarks.machine import facts
from benchmarks.output import console, save

ROWS, DIM, REPLICAS = 20_000, 64, 2
FROZEN = 30.0  # seconds
AWAY = 60.0


class Faults:
    """Each method harms something, and puts back what does not come back by itself."""

    def __init__(self, nodes: Nodes, cluster: RayCluster, postgres: Postgres, store: Store) -> None:
        self._nodes, self._cluster, self._postgres, self._store = nodes, cluster, postgres, store
        self.restore: Callable[[], None] = lambda: None  # once it was seen that replicas are full again

    def _pid(self, member: str) -> int:
        there = {one.member: one.state for one in self._cluster.about().seen}
        state = there[member]
        assert state is not None
        return state.pid

    def leaf(self) -> None:
        send([self._pid("leaf-1-0")], signal.SIGKILL)

    def root(self) -> None:
        send([self._pid("root-1")], signal.SIGKILL)

    def node(self) -> None:
        send(self._nodes.of_node(2), signal.SIGKILL)
        self.restore = self._nodes.restore

    def frozen(self) -> None:
        with frozen(self._nodes.of_node(2)):
            time.sleep(FROZEN)

    def postgres(self) -> None:
        self._postgres.stop()
        self._postgres.start()

    def store(self) -> None:
        with frozen([self._store.process.pid]):
            time.sleep(AWAY)


EVENTS = ("leaf", "node", "frozen", "postgres", "store", "root")


def full(cluster: RayCluster, rows: int) -> bool:
    """Whether every shard has all its replicas, which take calls and have the rows."""
    about = cluster.about()
    if about.lacking:
        return False
    shards = [leaves for shard, leaves in census(about.addresses("leaf")).items() if shard.name == "docs"]
    counts = [sorted(leaves.values()) for leaves in shards]
    return all(len(one) == REPLICAS for one in counts) and sum(one[0] for one in counts) >= rows


def one_run(event: str, faults: Faults, cluster: RayCluster, load: Load, patience: float) -> dict[str, Any]:
    """An event while searches and writes go on, until replicas are full again."""
    faults.restore = lambda: None
    before, failed = load.searched, len(load.failures)
    flying, begun = load.in_flight, time.monotonic()
    getattr(faults, event)()
    time.sleep(1.0)  # what was lost is seen by then
    while not full(cluster, ROWS):
        if time.monotonic() - begun > patience:
            raise TimeoutError(f"{event}: replicas were not full after {patience:g} s")
        time.sleep(0.25)
    seconds = time.monotonic() - begun
    time.sleep(2.0)
    new = load.failures[failed:]
    found = {"event": event, "searches": load.searched - before, "failed": len(new), "in_flight": flying}
    found |= {"lost": load.lost(), "seconds": round(seconds, 1), "failures": sorted(set(new))}
    faults.restore()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default=",".join(EVENTS), help="some of: " + ", ".join(EVENTS))
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--rate", type=float, default=30.0, help="searches a second")
    parser.add_argument("--wait", type=float, default=300.0, help="seconds for the cluster, and for full replicas")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    events = options.events.split(",")
    if unknown := set(events) - set(EVENTS):
        parser.error(f"no event {min(unknown)}: want some of {', '.join(EVENTS)}")
    rng, runs = np.random.default_rng(0), list[dict[str, Any]]()
    x = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bebr-faults-", dir="/tmp")))
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        (folder / "pg").mkdir()
        folder.chmod(0o755)
        postgres, store = Postgres(folder / "pg"), Store()
        stack.callback(store.process.kill)
        stack.callback(postgres.stop)
        nodes = Nodes(postgres, store, options.wait)
        stack.callback(nodes.down)
        cluster = stack.enter_context(connected(nodes.address, nodes.name))
        roots = cluster.about().addresses("root")
        with bebr.connect(roots[0], timeout=600) as db:
            docs = db.create_collection("docs", dim=DIM)
            docs.upsert(range(ROWS), x)
            docs.flush()
        while not full(cluster, ROWS):
            time.sleep(0.5)
        faults = Faults(nodes, cluster, postgres, store)
        for event in events:
            for _ in range(options.times):
                with Load(roots, "docs", x[:256], options.rate) as load:
                    time.sleep(3.0)
                    runs.append(one_run(event, faults, cluster, load, options.wait))
                print({key: value for key, value in runs[-1].items() if key != "failures" or value}, flush=True)
    table = Table(
        "event", "runs", "searches", "failed, most in one run", "in flight then", "lost writes", "full after s"
    )
    for event in events:
        of = [run for run in runs if run["event"] == event]
        worst = max(of, key=lambda run: run["failed"] - run["in_flight"])
        after = sorted(run["seconds"] for run in of)
        counts = (len(of), sum(run["searches"] for run in of), worst["failed"], worst["in_flight"])
        lost = sum(run["lost"] for run in of)
        table.add_row(event, *map(str, counts), str(lost), f"{after[len(after) // 2]} (at most {after[-1]})")
    console().print(table)
    if options.json:
        save(options.json, facts(1), runs, load=os.getloadavg())


if __name__ == "__main__":
    main()
