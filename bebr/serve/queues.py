"""Threads that many parties share fairly: parties take turns, and none may hold more than its share of the threads."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from bebr import core
from bebr.serve.calls import note_queued

T = TypeVar("T")


class _Job:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.arrived = self.begun = time.perf_counter_ns()


class FairQueue:
    """Runs blocking work in ``threads`` threads, at most ``share`` of them for one party. Belongs to one event loop.
    ``background``: other threads go before these where processors are short."""

    def __init__(self, threads: int, share: int, name: str, background: bool = False) -> None:
        self._pool = ThreadPoolExecutor(threads, name, core.enter_background if background else None)
        self._free = threads
        self._share = share
        self._running: Counter[Hashable] = Counter()
        # The parties with work waiting, in the order of their turns; the jobs of each in the order of their arrival.
        self._waiting: dict[Hashable, dict[_Job, None]] = {}

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread. From any thread."""
        return sum(len(jobs) for jobs in list(self._waiting.values()))

    async def run(self, party: Hashable, work: Callable[[], T], stop: Callable[[], None] | None = None) -> T:
        """What ``work`` returns.

        Cancelled while it waits, the work is never begun. Cancelled later, ``stop`` is called to end it early, and the
        cancellation is passed on when the work has ended: until then it holds its thread and its memory.
        """
        job = _Job(work)
        self._waiting.setdefault(party, {})[job] = None
        self._begin()
        try:
            result: T = await asyncio.shield(job.result)
            note_queued(job.arrived, job.begun)
            return result
        except asyncio.CancelledError:
            if job in self._waiting.get(party, ()):
                self._take(party, job)
            else:
                if stop is not None:
                    stop()
                await ended(job.result)
            raise

    def _begin(self) -> None:
        """Hands waiting jobs to free threads, one from each party in turn."""
        while self._free:
            for party in self._waiting:
                if self._running[party] < self._share:
                    break
            else:
                return
            job = next(iter(self._waiting[party]))
            self._take(party, job)
            if party in self._waiting:
                self._waiting[party] = self._waiting.pop(party)  # to the end: the others have their turn first
            self._free -= 1
            job.begun = time.perf_counter_ns()
            self._running[party] += 1
            running = asyncio.get_running_loop().run_in_executor(self._pool, job.work)
            running.add_done_callback(functools.partial(self._end, party, job))

    def _take(self, party: Hashable, job: _Job) -> None:
        jobs = self._waiting[party]
        del jobs[job]
        if not jobs:
            del self._waiting[party]

    def _end(self, party: Hashable, job: _Job, done: asyncio.Future[Any]) -> None:
        self._free += 1
        self._running[party] -= 1
        if not self._running[party]:
            del self._running[party]
        if done.cancelled():
            job.result.cancel()
        elif (error := done.exception()) is not None:
            job.result.set_exception(error)
            job.result.exception()  # a call that was cancelled does not ask for it
        else:
            job.result.set_result(done.result())
        self._begin()

    async def close(self) -> None:
        """Waits for the work in progress; what is still waiting is cancelled."""
        for job in [job for jobs in self._waiting.values() for job in jobs]:
            job.result.cancel()
        self._waiting.clear()
        await asyncio.to_thread(self._pool.shutdown)


async def ended(future: asyncio.Future[Any]) -> None:
    """Waits for a result, or an error, however often the call is cancelled meanwhile."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue  # cancelled again: the work still runs
