"""Searches at a steady rate and writes beside them, each noted with what became of it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import bebr
from benchmarks.datasets import Floats

_AT_ONCE = 64
_EACH = 8  # rows of a write


class Load:
    """Begins with its block, and ends with it. `rate`: searches a second, whether those before have ended or not, at
    one root after the other; none is tried again by its client. A write is tried until a root acknowledges it."""

    def __init__(self, roots: Sequence[str], name: str, queries: Floats, rate: float) -> None:
        self._clients = [bebr.connect(root, retries=0, timeout=30) for root in roots]
        self._docs = [client.collection(name) for client in self._clients]
        self._queries, self._rate = queries, rate
        self.searched, self.failures, self.acknowledged = 0, list[str](), list[int]()
        self.refused = 0
        self._flying, self._lock, self._stop = 0, threading.Lock(), threading.Event()

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=work) for work in (self._search, self._write)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()

    @property
    def in_flight(self) -> int:
        """Searches that have no answer yet."""
        return self._flying

    def _search(self) -> None:
        turns, begun = itertools.cycle(self._docs), time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for number in itertools.count(1):
                if self._stop.wait(max(begun + number / self._rate - time.monotonic(), 0)):
                    return
                with self._lock:
                    self._flying += 1
                threads.submit(self._one, next(turns), self._queries[number % len(self._queries)])

    def _one(self, docs: Any, query: Floats) -> None:
        failure = ""
        try:
            docs.search(query[None], 5)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        with self._lock:
            self._flying -= 1
            self.searched += 1
            if failure:
                self.failures.append(failure)

    def _write(self) -> None:
        turns = itertools.cycle(self._docs)
        for first in itertools.count(1_000_000, _EACH):
            ids = np.arange(first, first + _EACH)
            while not self._stop.wait(0.5):
                try:
                    next(turns).upsert(ids, self._queries[:_EACH])
                except Exception:
                    self.refused += 1
                else:
                    self.acknowledged += ids.tolist()
                    break
            if self._stop.is_set():
                return

    def lost(self) -> int:
        """How many rows of those that were acknowledged are not there. Before the block ends."""
        rows = self._docs[0].get(list(self.acknowledged))
        return sum(row is None for row in rows)
