"""Several tries of one call, of which the first answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

R = TypeVar("R")


async def first_answer(
    tries: Iterable[Callable[[], Awaitable[R]]], delay: float, elsewhere: tuple[type[Exception], ...]
) -> R:
    """What the first of several tries returns. The next one begins once a try has failed with an error of `elsewhere`;
    and once, after `delay` seconds, beside a try that takes long. Other errors are the caller's; where all fail, it is
    the first error. Those that are not needed any more are cancelled."""
    left, running = iter(tries), set[asyncio.Task[R]]()

    def begin() -> bool:
        """Whether there was another one."""
        one = next(left, None)
        if one is not None:
            running.add(asyncio.ensure_future(_awaited(one)))
        return one is not None

    failure: BaseException | None = None
    more = begin()
    if not more:
        raise ValueError("there are no tries: want one at least")
    beside = False
    try:
        while running:
            waits = delay if more and not beside else None
            done, _ = await asyncio.wait(running, timeout=waits, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                beside, more = True, begin()
            for task in done:
                running.discard(task)
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, elsewhere):
                    raise error
                failure, more = failure or error, begin()
        assert failure is not None
        raise failure
    finally:
        await ended(running)


async def together(works: Sequence[Awaitable[Any]]) -> list[Any]:
    """The results of all; the first error cancels the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await ended(tasks)


async def ended(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels those that are not done, and waits until they are. Their errors are of no interest any more."""
    every = list(tasks)
    left = [task for task in every if not task.done()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in every:
        if not task.cancelled():
            task.exception()  # else asyncio would log it as one that nobody saw


async def _awaited(work: Callable[[], Awaitable[R]]) -> R:
    return await work()
