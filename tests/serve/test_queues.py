"""Threads that parties share: turns, shares, and what a cancelled call leaves behind."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

import pytest

from bebr.serve.queues import FairQueue
from bebr.serve.registry import Threads


class Work:
    """Work that runs until told to end; notes what was begun."""

    def __init__(self) -> None:
        self.begun: list[object] = []
        self.ends: dict[object, threading.Event] = {}

    def __call__(self, name: object):
        self.ends[name] = threading.Event()

        def work() -> object:
            self.begun.append(name)
            assert self.ends[name].wait(20)
            return name

        return work

    def end(self, *names: object) -> None:
        for name in names:
            self.ends[name].set()


def play(scenario, threads: int = 2, share: int = 1) -> Work:
    """Runs scenario(queue, work, ask); ``ask(party, name)`` puts work in line and returns its task."""

    async def main() -> Work:
        queue, work = FairQueue(threads, share, "test"), Work()

        async def ask(party: str, name: object, **options) -> asyncio.Task:
            task = asyncio.create_task(queue.run(party, work(name), **options))
            await asyncio.sleep(0)
            return task

        try:
            await asyncio.wait_for(scenario(queue, work, ask), 20)
        finally:
            work.end(*work.ends)
            await queue.close()
        return work

    return asyncio.run(main())


async def begun(work: Work, name: object) -> None:
    while name not in work.begun:
        await asyncio.sleep(0.001)


def test_a_crowd_of_one_party_leaves_threads_to_others():
    async def scenario(queue, work, ask):
        crowd = [await ask("crowd", i) for i in range(6)]
        other = await ask("other", "other")
        await begun(work, "other")  # while the crowd's first work still runs
        work.end("other", *range(6))
        assert await other == "other"
        assert [await task for task in crowd] == list(range(6))

    play(scenario)


def test_parties_take_turns():
    async def scenario(queue, work, ask):
        tasks = [await ask("a", ("a", i)) for i in range(4)]
        tasks += [await ask(party, (party, 0)) for party in ("b", "c")]
        for ends in work.ends.values():
            ends.set()
        await asyncio.gather(*tasks)

    order = play(scenario, threads=1).begun
    assert order == [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("a", 2), ("a", 3)]  # the first began at once


def test_work_cancelled_while_it_waits_is_never_begun():
    async def scenario(queue, work, ask):
        first = await ask("a", "first")
        waiting = await ask("a", "waiting")
        await begun(work, "first")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        work.end("first", "waiting")
        assert await first == "first"

    assert play(scenario, threads=1).begun == ["first"]


def test_work_cancelled_while_it_runs_is_stopped_and_waited_for():
    async def scenario(queue, work, ask):
        task = await ask("a", "long", stop=lambda: work.begun.append("stopped"))
        await begun(work, "long")
        task.cancel()
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()  # its thread and its memory are still in use
        assert work.begun == ["long", "stopped"]
        work.end("long")
        with pytest.raises(asyncio.CancelledError):
            await task

    play(scenario)


def test_errors_reach_the_caller_and_free_the_thread():
    def fail() -> None:
        raise KeyError("no such thing")

    async def scenario(queue, work, ask):
        for _ in range(3):
            with pytest.raises(KeyError, match="no such thing"):
                await queue.run("a", fail)
        assert await queue.run("a", lambda: 5) == 5

    play(scenario, threads=1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_writes_of_a_server_have_a_lower_priority_than_its_searches():
    async def main() -> list[int]:
        threads = Threads()
        queues = threads.searches, threads.reads, threads.writes
        found = [await queue.run("party", lambda: os.getpriority(os.PRIO_PROCESS, 0)) for queue in queues]
        await threads.close()
        return found

    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert asyncio.run(main()) == [own, own, min(own + 5, 19)]
