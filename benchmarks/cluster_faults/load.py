"""Searches at a steady rate and writes beside them, each noted with what became of it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import bebr
from benchmarks.datasets import Floats

_AT_ONCE = 64
_EACH = 8  # rows of a write
# Seconds within which a root answers a search, or another one is asked, and within which that one answers; and for
# which acknowledged rows may be missing at a leaf that follows.
_FIRST, _SECOND, _FOLLOWED = 2.0, 30.0, 10.0
_LOOK = 0.25  # seconds between two looks at which roots there are


class Roots:
    """Clients of roots that come and go. None of them tries a call again by itself."""

    def __init__(self, there: Callable[[], Sequence[str]], name: str) -> None:
        self._there, self._name, self._turns = there, name, itertools.count()
        self._found, self._seen = list[str](), -_LOOK
        self._lock, self._open = threading.Lock(), dict[tuple[str, float], tuple[Any, Any]]()

    def turned(self) -> list[str]:
        """Their addresses, beginning with another one each time."""
        with self._lock:
            if time.monotonic() - self._seen >= _LOOK:
                self._found, self._seen = list(self._there()), time.monotonic()
            there = self._found
            at = next(self._turns) % len(there) if there else 0
        return there[at:] + there[:at]

    def collection(self, root: str, timeout: float) -> Any:
        """By a root; an error where that, or a shard, is away when it is asked for the first time."""
        with self._lock:
            found = self._open.get((root, timeout))
        if found is None:
            client = bebr.connect(root, retries=0, timeout=timeout)
            with self._lock:
                found = self._open.setdefault((root, timeout), (client, client.collection(self._name)))
        return found[1]

    def close(self) -> None:
        for client, _ in self._open.values():
            client.close()


class Load:
    """Begins with its block, and ends with it. `there`: the addresses of the roots that there are; `rate`: searches a
    second, whether those before have ended or not, at one root after the other. A root that has not answered after two
    seconds, or refuses, is left for the next one (`again`), as a gateway or a client with two addresses does; where
    that fails, too, the search has failed. `partial`: searches take what there is of the shards that answer. A write is
    tried until a root acknowledges it."""

    def __init__(
        self, there: Callable[[], Sequence[str]], name: str, queries: Floats, rate: float, partial: bool = False
    ) -> None:
        self._roots = Roots(there, name)
        self._queries, self._rate, self._partial = queries, rate, partial
        self.searched = self.again = self.refused = 0
        self.slowest = 0.0
        self.failures, self.acknowledged = list[str](), list[int]()
        self.missing: list[tuple[int, ...]] = []
        self._flying, self._lock, self._stop = 0, threading.Lock(), threading.Event()

    def __enter__(self) -> Load:
        for root in self._roots.turned():
            for timeout in (_FIRST, _SECOND):
                self._roots.collection(root, timeout)
        self._threads = [threading.Thread(target=work) for work in (self._search, self._write)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._roots.close()

    @property
    def in_flight(self) -> int:
        """Searches that have no answer yet."""
        return self._flying

    def _search(self) -> None:
        begun = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for number in itertools.count(1):
                if self._stop.wait(max(begun + number / self._rate - time.monotonic(), 0)):
                    return
                with self._lock:
                    self._flying += 1
                threads.submit(self._one, self._queries[number % len(self._queries)])

    def _one(self, query: Floats) -> None:
        begun, failure, asked, missing = time.monotonic(), "there is no root", 0, ()
        there = self._roots.turned()[:2]
        for root in there:
            asked += 1
            try:
                docs = self._roots.collection(root, _SECOND if root == there[-1] else _FIRST)
                missing = docs.search(query[None], 5, allow_partial=self._partial).missing
                failure = ""
                break
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
        with self._lock:
            self._flying -= 1
            self.searched += 1
            self.again += asked > 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if failure:
                self.failures.append(failure)
            if missing:
                self.missing.append(missing)

    def _write(self) -> None:
        for first in itertools.count(1_000_000, _EACH):
            ids = np.arange(first, first + _EACH)
            while not self._stop.wait(0.5):
                try:
                    self._roots.collection(self._roots.turned()[0], _SECOND).upsert(ids, self._queries[:_EACH])
                except Exception:
                    self.refused += 1
                else:
                    self.acknowledged += ids.tolist()
                    break
            if self._stop.is_set():
                return

    def lost(self) -> int:
        """How many rows of those that were acknowledged are not there. Before the block ends."""
        left, end = list(self.acknowledged), time.monotonic() + _FOLLOWED
        while True:
            rows = self._roots.collection(self._roots.turned()[0], _SECOND).get(left, payloads=False)
            left = [id for id, row in zip(left, rows, strict=True) if row is None]
            if not left or time.monotonic() > end:
                return len(left)
            time.sleep(0.5)
