"""The batcher by itself: what waits is joined, errors and cancellations stay with whom they belong to."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bebr._core import StopFlag
from bebr.collection.options import SearchOptions
from bebr.index import Hits
from bebr.serve.batching import MAX_BATCH, Batcher, Found

KEY = SearchOptions(1)


class Kernel:
    """Answers a query with its own first value. Waits in the first call until ``go`` is set; notes every call."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.calls: list[tuple[SearchOptions, list[float]]] = []
        self.stops: list[StopFlag] = []

    def __call__(self, vectors: np.ndarray, key: SearchOptions, stop: StopFlag) -> Found:
        self.stops.append(stop)
        self.calls.append((key, vectors[:, 0].tolist()))
        if len(self.calls) == 1:
            assert self.go.wait(10)
        if (vectors[:, 0] < 0).any():
            raise ValueError("negative")
        return Found(Hits(vectors[:, :1], vectors[:, :1].astype(np.int64)), None)


def vector(value: float, rows: int = 1) -> np.ndarray:
    return np.full((rows, 4), value, np.float32)


def play(scenario) -> Kernel:
    """Runs scenario(batcher, kernel, ask); ``ask`` puts a search in line and returns its task."""

    async def main() -> Kernel:
        kernel = Kernel()
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher(kernel, pool)

            async def ask(value: float, key: SearchOptions = KEY, rows: int = 1) -> asyncio.Task:
                task = asyncio.create_task(batcher.search(vector(value, rows), key))
                await asyncio.sleep(0)
                return task

            try:
                await asyncio.wait_for(scenario(batcher, kernel, ask), 20)
            finally:
                kernel.go.set()
        return kernel

    return asyncio.run(main())


async def running(kernel: Kernel) -> None:
    while not kernel.calls:
        await asyncio.sleep(0.001)


def test_what_arrives_during_a_call_is_joined_into_the_next():
    async def scenario(batcher, kernel, ask):
        first = await ask(0)
        await running(kernel)
        others = [await ask(i) for i in range(1, 30)]
        kernel.go.set()
        answers = [await task for task in [first, *others]]
        assert [int(answer.hits.ids[0, 0]) for answer in answers] == list(range(30))
        assert [answer.batch for answer in answers] == [1] + [29] * 29
        stats = batcher.stats
        assert (stats.requests, stats.queries, stats.batches, stats.largest) == (30, 30, 2, 29)

    assert [len(values) for _, values in play(scenario).calls] == [1, 29]


def test_an_idle_batcher_answers_one_query_at_once():
    async def scenario(batcher, kernel, ask):
        kernel.go.set()
        for i in range(5):
            assert (await batcher.search(vector(i), KEY)).batch == 1

    assert len(play(scenario).calls) == 5


def test_an_error_stays_with_the_request_that_caused_it():
    async def scenario(batcher, kernel, ask):
        first = await ask(0)
        await running(kernel)
        tasks = [await ask(value) for value in (1, -1, 2)]
        kernel.go.set()
        await first
        good, bad, also_good = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(bad, ValueError)
        assert (good.hits.ids[0, 0], also_good.hits.ids[0, 0]) == (1, 2)
        assert (await batcher.search(vector(3), KEY)).hits.ids[0, 0] == 3

    play(scenario)


def test_a_cancelled_request_is_dropped():
    async def scenario(batcher, kernel, ask):
        first = await ask(0)
        await running(kernel)
        tasks = [await ask(i) for i in (1, 2, 3)]
        tasks[1].cancel()
        await asyncio.sleep(0)
        first.cancel()  # too late: it runs, and nobody hears the answer
        kernel.go.set()
        assert [(await tasks[i]).hits.ids[0, 0] for i in (0, 2)] == [1, 3]

    assert [values for _, values in play(scenario).calls] == [[0], [1, 3]]


def test_a_kernel_call_is_stopped_once_nobody_waits_for_it():
    async def scenario(batcher, kernel, ask):
        first = await ask(0)
        await running(kernel)
        assert not kernel.stops[0].is_set
        first.cancel()
        await asyncio.sleep(0.01)
        assert kernel.stops[0].is_set
        kernel.go.set()
        assert (await batcher.search(vector(3), KEY)).hits.ids[0, 0] == 3

    play(scenario)


def test_a_kernel_call_that_others_wait_for_goes_on():
    async def scenario(batcher, kernel, ask):
        slow = vector(0)
        first = asyncio.create_task(batcher.search(slow, KEY))
        second = asyncio.create_task(batcher.search(vector(1), KEY))
        await running(kernel)
        first.cancel()
        await asyncio.sleep(0.01)
        assert kernel.calls[0][1] == [0, 1] and not kernel.stops[0].is_set
        kernel.go.set()
        assert (await second).hits.ids[0, 0] == 1

    play(scenario)


def test_keys_are_not_mixed_and_take_turns():
    other = SearchOptions(2, "code", exact=True)

    async def scenario(batcher, kernel, ask):
        first = await ask(0)
        await running(kernel)
        crowd = [await ask(1, rows=100) for _ in range(6)]
        lonely = await ask(2, other)
        kernel.go.set()
        await asyncio.gather(first, lonely, *crowd)

    calls = play(scenario).calls
    assert all(len(set(values)) == 1 for _, values in calls)
    assert [key for key, _ in calls[:3]] == [KEY, KEY, other]  # after one batch of the crowd, not after all three


def test_batches_are_bounded_and_large_requests_let_others_through():
    async def scenario(batcher, kernel, ask):
        first = await ask(0)
        await running(kernel)
        large = await ask(1, rows=3 * MAX_BATCH + 5)
        small = await ask(2)
        kernel.go.set()
        answer = await large
        assert answer.hits.ids.shape == (3 * MAX_BATCH + 5, 1) and (answer.hits.ids == 1).all()
        await asyncio.gather(first, small)

    calls = [values for _, values in play(scenario).calls]
    assert max(map(len, calls)) == MAX_BATCH
    assert 2.0 in calls[2]  # right after the first piece of the large one


@pytest.mark.parametrize("sizes", [[256, 1], [200, 57], [100] * 5])
def test_no_batch_is_larger_than_allowed(sizes):
    async def scenario(batcher, kernel, ask):
        first = await ask(0)
        await running(kernel)
        tasks = [await ask(i + 1, rows=rows) for i, rows in enumerate(sizes)]
        kernel.go.set()
        for i, task in enumerate(tasks):
            assert ((await task).hits.ids == i + 1).all()
        await first

    calls = [values for _, values in play(scenario).calls]
    assert max(map(len, calls)) <= MAX_BATCH and sum(map(len, calls)) == sum(sizes) + 1
