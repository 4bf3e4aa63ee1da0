"""Coalescing: searches that wait for the same collection are joined into one kernel call.

Nothing waits on purpose. While one call runs, whatever arrives collects; when it ends, the next call takes what is
there. An idle server answers a single query at once; a busy one works in batches, and a batch costs far less than its
queries one by one (the codes are read and expanded once for all of them).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np

from bebr.arrays import Floats
from bebr.collection.options import SearchOptions
from bebr.collection.protocol import BatchingStats, GroupValue
from bebr.core import StopFlag
from bebr.index import Hits
from bebr.lazy import lazy_property
from bebr.serve.calls import Work, note_queued, note_searched
from bebr.store.snapshots.snapshot import Snapshot

# Queries of one kernel call. More do not make a query cheaper, and each would wait longer.
MAX_BATCH = 256


@dataclass(frozen=True)
class Found:
    """``hits`` of a search of ``snapshot``; ``groups``: where they come in groups, the values of these, a list per
    query; ``work``: what its kernel call did, for other searches too."""

    hits: Hits
    snapshot: Snapshot
    groups: Sequence[Sequence[GroupValue | None]] = ()
    work: Work = field(default_factory=Work)


@dataclass(frozen=True)
class Answer:
    """What one kernel call after the other found. ``batch``: most queries of one of them."""

    parts: tuple[Found, ...]
    batch: int

    def after(self, offset: int) -> Answer:
        """Without the first `offset` hits of each query."""
        if not offset:
            return self
        return self._changed(lambda hits: Hits(hits.scores[:, offset:], hits.ids[:, offset:]))

    def rows_of(self, size: int) -> Answer:
        """A row per group of ``size`` hits, in place of one per query."""
        return self._changed(lambda hits: Hits(hits.scores.reshape(-1, size), hits.ids.reshape(-1, size)))

    def _changed(self, change: Callable[[Hits], Hits]) -> Answer:
        return Answer(tuple(replace(found, hits=change(found.hits)) for found in self.parts), self.batch)

    @property
    def work(self) -> Work:
        """Of these kernel calls."""
        return sum((part.work for part in self.parts), Work())

    @lazy_property
    def hits(self) -> Hits:
        if len(self.parts) == 1:
            return self.parts[0].hits
        return Hits(*(np.concatenate(column) for column in zip(*(part.hits for part in self.parts), strict=True)))


@dataclass(eq=False)
class _Waiting:
    vectors: Floats
    answer: asyncio.Future[Answer] = field(repr=False)
    arrived: int = field(default_factory=time.perf_counter_ns)
    begun: int = 0


Search = Callable[[Floats, SearchOptions, StopFlag], Found]


class Batcher:
    """Joins the searches of one collection. One kernel call at a time; keys take turns, so that none starves. Belongs
    to one event loop."""

    def __init__(self, search: Search, executor: Executor) -> None:
        self._search = search
        self._executor = executor
        self._waiting: dict[SearchOptions, dict[_Waiting, None]] = {}  # lines of searches
        self._running: tuple[Sequence[_Waiting], StopFlag] = (), StopFlag()
        self._task: asyncio.Task[None] | None = None
        self._requests = self._queries = self._batches = self._largest = 0
        self.work = Work()  # of all kernel calls

    @property
    def stats(self) -> BatchingStats:
        return BatchingStats(self._requests, self._queries, self._batches, self._largest)

    @property
    def waiting(self) -> int:
        """Searches that wait for a kernel call. From any thread."""
        return sum(len(line) for line in list(self._waiting.values()))

    async def search(self, vectors: Floats, key: SearchOptions) -> Answer:
        """Answers checked queries float32[n, d]. Cancelling the call takes them out of the line."""
        if len(vectors) > MAX_BATCH:
            # Piece by piece, back to the end of the line each time: others need not wait for all of it.
            parts = [await self.search(vectors[i : i + MAX_BATCH], key) for i in range(0, len(vectors), MAX_BATCH)]
            return Answer(tuple(found for part in parts for found in part.parts), max(part.batch for part in parts))
        one = _Waiting(vectors, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(key, {})[one] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            answer = await one.answer
            note_queued(one.arrived, one.begun)
            note_searched(one.begun, time.perf_counter_ns())
            return answer
        except asyncio.CancelledError:
            self._waiting.get(key, {}).pop(one, None)  # its vectors are not kept until its turn
            batch, stop = self._running
            if one in batch and all(other.answer.done() for other in batch):
                stop.set()  # nobody waits for this kernel call any more
            raise

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # requests that have arrived, but are not in line yet, join this batch
                key = next(iter(self._waiting))
                line = self._waiting.pop(key)
                batch = _take(line)
                if line:
                    self._waiting[key] = line  # now the last of the keys: the others have their turn first
                if batch:
                    await self._answer(batch, key)
        finally:
            self._task = None

    async def _answer(self, batch: Sequence[_Waiting], key: SearchOptions) -> None:
        vectors = batch[0].vectors if len(batch) == 1 else np.concatenate([one.vectors for one in batch])
        self._requests += len(batch)
        self._queries += len(vectors)
        self._batches += 1
        self._largest = max(self._largest, len(vectors))
        stop = StopFlag()
        self._running = batch, stop
        now = time.perf_counter_ns()
        for one in batch:
            one.begun = now
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, self._search, vectors, key, stop)
        except Exception as error:
            if len(batch) == 1:
                if not batch[0].answer.done():
                    batch[0].answer.set_exception(error)
                return
            for one in batch:  # an error stays with the request that caused it
                if not one.answer.done():
                    await self._answer([one], key)
            return
        finally:
            self._running = (), stop
        self.work += found.work
        start = 0
        for one in batch:
            end = start + len(one.vectors)
            if not one.answer.done():
                hits = Hits(found.hits.scores[start:end], found.hits.ids[start:end])
                one.answer.set_result(Answer((Found(hits, found.snapshot, work=found.work),), len(vectors)))
            start = end


def _take(line: dict[_Waiting, None]) -> list[_Waiting]:
    """The first searches in line, up to MAX_BATCH queries."""
    batch: list[_Waiting] = []
    queries = 0
    for one in line:
        if queries + len(one.vectors) > MAX_BATCH:
            break
        batch.append(one)
        queries += len(one.vectors)
    for one in batch:
        del line[one]
    return [one for one in batch if not one.answer.done()]  # cancelled a moment ago
