"""Which of several tries of a call counts, and when the next one begins."""

from __future__ import annotations

import asyncio
import gc

import pytest

from bebr.cluster.latencies import FIRST, LEAST, Latencies
from bebr.cluster.racing import first_answer, together


class Tries:
    """Answers, errors, or None for a try that never ends. `begun`, `cancelled`: of tries, by number."""

    def __init__(self, *ends) -> None:
        self.ends, self.begun, self.cancelled = ends, [], []

    def __iter__(self):
        return (lambda number=number: self._one(number) for number in range(len(self.ends)))

    async def _one(self, number):
        self.begun.append(number)
        end = self.ends[number]
        try:
            if end is None:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if isinstance(end, Exception):
            raise end
        return end

    def first(self, delay=30.0):
        return asyncio.run(first_answer(self, delay, (ConnectionError, TimeoutError)))


def test_an_answer_needs_no_other_try():
    tries = Tries("a", "b")
    assert tries.first() == "a" and tries.begun == [0]


def test_a_failure_is_followed_by_the_next_try_at_once():
    tries = Tries(ConnectionError("x"), TimeoutError("y"), "c")
    assert tries.first() == "c" and tries.begun == [0, 1, 2]


def test_what_takes_long_gets_one_try_beside_it_and_is_cancelled():
    tries = Tries(None, "b", "c")
    assert tries.first(delay=0.01) == "b" and tries.begun == [0, 1] and tries.cancelled == [0]
    tries = Tries(None, ConnectionError("x"), "c")  # beside it there is always one
    assert tries.first(delay=0.01) == "c" and tries.begun == [0, 1, 2]
    tries = Tries(ConnectionError("x"), None, "c")
    assert tries.first(delay=0.01) == "c" and tries.cancelled == [1]


def test_a_failure_beside_the_answer_is_not_reported_as_one_that_nobody_saw():
    """Of two tries that end in the same moment the loop takes either one first: twenty times, so that it does both."""
    reported: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, about: reported.append(about["message"]))
        for _ in range(20):
            both = asyncio.Event()

            async def good(both: asyncio.Event = both) -> int:
                await both.wait()
                return 1

            async def bad(both: asyncio.Event = both) -> int:
                both.set()
                raise ConnectionError("away")

            assert await first_answer([good, bad], 0.0, (ConnectionError,)) == 1
            gc.collect()

    asyncio.run(run())
    assert reported == []


def test_errors_of_the_caller_are_not_tried_again():
    tries = Tries(ValueError("k is 0"), "b")
    with pytest.raises(ValueError, match="k is 0"):
        tries.first()
    assert tries.begun == [0]
    with pytest.raises(ConnectionError, match="first"):
        Tries(ConnectionError("first"), ConnectionError("second")).first()


def test_an_error_ends_what_goes_on_beside_it():
    tries = Tries(None, ValueError("x"))

    async def both():
        await together([tries._one(0), tries._one(1)])

    with pytest.raises(ValueError):
        asyncio.run(both())
    assert tries.cancelled == [0]


def test_the_delay_is_that_of_one_call_in_twenty():
    latencies = Latencies()
    for _ in range(31):
        latencies.note(0.0001)
    assert latencies.delay == FIRST
    latencies.note(0.0001)
    assert latencies.delay == LEAST
    for i in range(256):
        latencies.note(0.1 if i % 10 else 0.9)
    assert latencies.delay == pytest.approx(0.9)
    for i in range(256):
        latencies.note(0.1 if i % 100 else 0.9)
    assert latencies.delay == pytest.approx(0.1)
