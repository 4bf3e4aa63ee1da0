"""A collection in shards goes to another producer's vectors while it is searched and written, and a leaf is killed.

    python -m benchmarks.cluster_migration [--rows 20000] [--leaves 2] [--kills 1] [--json FILE]

PostgreSQL, leaves and two roots, each a process of its own; every leaf has all four shards, so there are as many
replicas. The two producers are a mixture of Gaussians and a map of it; neither model reads the other's codes. A client
searches by old vectors, 15 times a second and without retries of its own, and one rewrites rows. The new vectors are
streamed for the rows that are behind. Then writes are held until none is, another client searches by the new vectors,
too, and the collection is cut over and keeps the old ones. Searches and then writes go over to the new vectors, and the
old ones are removed. Each `--kills` time, evenly on the way, a leaf is killed by kill -9 and started again.

Aims: no search fails, and no write is lost; exits with 1 where one is missed. `share`: of queries whose own row is
among the first ten; `share_alone`: in an index of the new vectors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import bebr
from benchmarks.datasets import Floats
from benchmarks.machine import facts
from benchmarks.migration_streamed import Producer, generated
from benchmarks.output import save
from benchmarks.postgres import Postgres
from benchmarks.servers import started

B = TypeVar("B", bound="Beside")

NAME, K, SHARDS, BATCH, RATE = "docs", 10, 4, 1000, 15.0


class Leaves:
    """Processes of a database, of which one may be killed and is started again."""

    def __init__(self, stack: ExitStack, url: str, folder: Path, count: int) -> None:
        self._about = (url, "--segments", f"file://{folder}/segments", "--lease-seconds", "3")
        self._folder, self._stack = folder, stack
        self._pids = [self._begun(number) for number in range(count)]

    def _begun(self, number: int) -> int:
        cache = ("--cache", str(self._folder / f"cache-{number}"))
        _, pid = self._stack.enter_context(started("-m", "bebr", "leaf", *self._about, *cache, "--port", "0"))
        return pid

    def kill(self, number: int) -> None:
        """One of them, and begins it anew."""
        os.kill(self._pids[number], signal.SIGKILL)
        self._pids[number] = self._begun(number)


class Beside(ABC):
    """Work in a thread of its own, from the beginning of its block to the end."""

    def __init__(self) -> None:
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._go_on)

    def __enter__(self: B) -> B:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @abstractmethod
    def _go_on(self) -> None:
        """Until it is to stop."""


class Searches(Beside):
    """One query at a time, so many a second, from the beginning of its block to the end. `model`: of the queries, where
    it is not the collection's own. `share`: of queries whose own row was found, of all answers."""

    def __init__(self, root: str, q: Floats, model: bebr.Binarizer | None = None) -> None:
        super().__init__()
        self._root, self._q, self._model = root, q, model
        self.answered, self.found, self.slowest, self.failed = 0, 0, 0.0, list[str]()

    def _go_on(self) -> None:
        with bebr.connect(self._root, retries=0) as client:
            docs = client.collection(NAME)
            for number in itertools.count():
                if self._stop.wait(1 / RATE):
                    return
                begun, row = time.monotonic(), number % len(self._q)
                try:
                    hits = docs.search(self._q[row], K, binarizer=self._model)
                except Exception as error:
                    self.failed.append(repr(error))
                    continue
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.answered += 1
                self.found += row in hits.ids[0]

    @property
    def said(self) -> dict[str, Any]:
        """Of this load."""
        share = round(self.found / max(self.answered, 1), 3)
        failed = {"failed": len(self.failed), "failures": sorted(set(self.failed))[:5]}
        return {"answered": self.answered, "share": share, "slowest": round(self.slowest, 2), **failed}


class Writes(Beside):
    """Rewrites ten rows, again and again: by old vectors until `turn` is called, by new ones after it. Each is tried
    until it is acknowledged."""

    def __init__(self, root: str, old: Floats, new: Floats) -> None:
        super().__init__()
        self._root, self._old, self._new = root, old, new
        self._over, self._lock = False, threading.Lock()
        self.written = self.refused = 0
        self.last = dict[int, int]()  # of each row, the number of its last write

    def still(self) -> threading.Lock:
        """While it is held, nothing is written."""
        return self._lock

    def turn(self) -> None:
        """The collection has the new model."""
        self._over = True

    def _go_on(self) -> None:
        chance = np.random.default_rng(1)
        with bebr.connect(self._root, retries=0) as client:
            for number in itertools.count():
                ids = chance.choice(len(self._old), 10, replace=False)
                while not self._stop.wait(0.1):
                    with self._lock:
                        try:
                            docs = client.collection(NAME)
                            x = (self._new if self._over else self._old)[ids]
                            docs.upsert(ids, x, [{"write": number}] * len(ids))
                        except Exception:
                            self.refused += 1
                            continue
                        self.written += len(ids)
                        self.last.update(dict.fromkeys(ids.tolist(), number))
                    break
                if self._stop.is_set():
                    return


def streamed(docs: Any, new: Producer, model: bebr.Binarizer, left: int, between: Callable[[int], None]) -> None:
    """Streams what is behind until no more than `left` rows are. `between`: called with how many there are."""

    def batches() -> Iterator[tuple[Any, Floats]]:
        while True:
            page = docs.scroll(limit=BATCH, behind=True, payloads=False)
            if len(page) <= left:
                return
            ids = np.array([row.id for row in page])
            yield ids, new.rows[ids]
            between(int(docs.stats().rows_behind))

    while True:
        with suppress(ConnectionError, TimeoutError):
            docs.migrate(model, vectors=batches())
            return


def run(stack: ExitStack, folder: Path, options: argparse.Namespace, old: Producer, new: Producer) -> dict[str, Any]:
    """The migration, and what clients saw."""
    rows, seconds, kills = len(old.rows), dict[str, float](), 0
    first = bebr.train(old.train, bytes_per_vector=options.bytes, seed=0)
    model = bebr.train(new.train, bytes_per_vector=options.bytes, seed=0)
    postgres = Postgres(folder / "pg")
    stack.callback(postgres.stop)
    with bebr.open(postgres.url, segments=f"file://{folder}/segments"):
        pass  # makes it
    leaves = Leaves(stack, postgres.url, folder, options.leaves)
    root = ("-m", "bebr", "root", postgres.url, "--shards", str(SHARDS), "--port", "0")
    roots = [stack.enter_context(started(*root))[0] for _ in range(2)]
    with bebr.connect(roots[0]) as client:
        docs = client.create_collection(NAME, first)
        docs.upsert(np.arange(rows), old.rows, [{"write": -1}] * rows)
        docs.flush()

        def between(behind: int) -> None:
            nonlocal kills
            if kills < options.kills and behind <= rows * (1 - (kills + 1) / (options.kills + 1)):
                leaves.kill(kills % options.leaves)
                kills += 1

        with Writes(roots[0], old.rows, new.rows) as writes:
            with ExitStack() as clients:
                by_old = clients.enter_context(Searches(roots[1], old.queries))
                start = time.monotonic()
                streamed(docs, new, model, 20, between)
                clients.enter_context(writes.still())  # what is written by old vectors is behind again
                streamed(docs, new, model, 0, between)
                seconds["streamed"] = time.monotonic() - start
                by_both = clients.enter_context(Searches(roots[0], new.queries, model))
                time.sleep(1.0)
                start = time.monotonic()
                docs.cutover(keep_old=True)
                seconds["cutover"] = time.monotonic() - start
                writes.turn()
                time.sleep(2.0)  # searches of both models go on
            with Searches(roots[1], new.queries) as by_new:  # the clients have got it anew
                time.sleep(2.0)
                start = time.monotonic()
                docs.cutover()
                seconds["old ones removed"] = time.monotonic() - start
                time.sleep(3.0)
        last, ids = writes.last, list(writes.last)
        time.sleep(1.0)
        there = client.collection(NAME).get(ids)
        lost = sum(
            row is None or (row.payload or {}).get("write", -1) < last[id] for id, row in zip(ids, there, strict=True)
        )
        count = len(client.collection(NAME))
    index = bebr.FlatIndex(model)
    index.add(new.rows)
    alone = float((index.search(new.queries, K).ids == np.arange(len(new.queries))[:, None]).any(axis=1).mean())
    searches = {"old": by_old.said, "new, on the way": by_both.said, "new, after it": by_new.said}
    return {
        **{"rows": rows, "shards": SHARDS, "replicas": options.leaves, "kills": kills, "searches": searches},
        **{"seconds": {name: round(value, 2) for name, value in seconds.items()}, "written": writes.written},
        **{"refused": writes.refused, "lost": lost, "share_alone": round(alone, 3), "rows_after": count},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--train", type=int, default=5000, help="rows to train on")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--bytes", type=int, default=52)
    parser.add_argument("--leaves", type=int, default=2)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    both = generated(options.rows, options.queries, options.dim)
    old, new = (Producer(one.rows, one.queries, one.train[: options.train]) for one in both)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bebr-migration-", dir="/tmp")))
        (folder / "pg").mkdir()
        folder.chmod(0o755)
        found = run(stack, folder, options, old, new)
    print(json.dumps(found, indent=1))
    if options.json:
        save(options.json, facts(1), [found], load=os.getloadavg())
    failed = sum(one["failed"] for one in found["searches"].values())
    whole = found["rows_after"] == found["rows"] and found["kills"] == options.kills
    return 0 if whole and not failed and not found["lost"] else 1


if __name__ == "__main__":
    sys.exit(main())
