"""Coalescing: searches that wait for the same collection are joined into one kernel call.

Nothing waits on purpose. While one call runs, whatever arrives collects; when it ends, the next call takes what is
there. An idle server answers a single query at once; a busy one works in batches, and a batch costs far less than its
queries one by one (the codes are read and expanded once for all of them).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.protocol import BatchingStats
from bebr.index import Hits

# Queries of one kernel call. More do not make a query cheaper, and each would wait longer.
MAX_BATCH = 256


@dataclass(frozen=True)
class Key:
    """What searches must have in common to be joined. ``model``: of the queries, where it is not the collection's own;
    alike if it is the same object."""

    k: int
    query: Query
    oversampling: int | None
    exact: bool
    model: Binarizer | None = None


@dataclass(frozen=True)
class Answer:
    """``batch``: queries of the kernel call that found ``hits``."""

    hits: Hits
    batch: int


@dataclass(eq=False)
class _Waiting:
    vectors: Floats
    answer: asyncio.Future[Answer] = field(repr=False)


Search = Callable[[Floats, Key], Hits]


class Batcher:
    """Joins the searches of one collection. One kernel call at a time; keys take turns, so that none starves. Belongs
    to one event loop."""

    def __init__(self, search: Search, executor: Executor) -> None:
        self._search = search
        self._executor = executor
        self._waiting: dict[Key, deque[_Waiting]] = {}
        self._task: asyncio.Task[None] | None = None
        self._requests = self._queries = self._batches = self._largest = 0

    @property
    def stats(self) -> BatchingStats:
        return BatchingStats(self._requests, self._queries, self._batches, self._largest)

    async def search(self, vectors: Floats, key: Key) -> Answer:
        """Answers checked queries float32[n, d]. Cancelling the call takes them out of the line."""
        if len(vectors) > MAX_BATCH:
            # Piece by piece, back to the end of the line each time: others need not wait for all of it.
            parts = [await self.search(vectors[i : i + MAX_BATCH], key) for i in range(0, len(vectors), MAX_BATCH)]
            scores, ids = (np.concatenate(column) for column in zip(*(part.hits for part in parts), strict=True))
            return Answer(Hits(scores, ids), max(part.batch for part in parts))
        one = _Waiting(vectors, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(key, deque()).append(one)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await one.answer

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

    async def _answer(self, batch: Sequence[_Waiting], key: Key) -> None:
        vectors = batch[0].vectors if len(batch) == 1 else np.concatenate([one.vectors for one in batch])
        self._requests += len(batch)
        self._queries += len(vectors)
        self._batches += 1
        self._largest = max(self._largest, len(vectors))
        try:
            hits = await asyncio.get_running_loop().run_in_executor(self._executor, self._search, vectors, key)
        except Exception as error:
            if len(batch) == 1:
                if not batch[0].answer.done():
                    batch[0].answer.set_exception(error)
                return
            for one in batch:  # an error stays with the request that caused it
                await self._answer([one], key)
            return
        start = 0
        for one in batch:
            end = start + len(one.vectors)
            if not one.answer.done():
                one.answer.set_result(Answer(Hits(hits.scores[start:end], hits.ids[start:end]), len(vectors)))
            start = end


def _take(line: deque[_Waiting]) -> list[_Waiting]:
    """The first searches in line, up to MAX_BATCH queries; cancelled ones fall away."""
    batch: list[_Waiting] = []
    queries = 0
    while line:
        if line[0].answer.done():
            line.popleft()
            continue
        if queries + len(line[0].vectors) > MAX_BATCH:
            break
        one = line.popleft()
        batch.append(one)
        queries += len(one.vectors)
    return batch
