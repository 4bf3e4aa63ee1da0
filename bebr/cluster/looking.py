"""Looks at leaves past gRPC: a thread in C++ asks all of them at the same time, twice a second, and wakes Python where
one says something else than before. By gRPC a look at four leaves took a root 14 ms of processor time, of Python most
of it (docs/experiments/cluster-simulation.md)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bebr.cluster.leaf import EVERY, LIST_PATH, LISTED, LOOK, Leaf
from bebr.serve.front import loaded


class News(NamedTuple):
    """`asked`: when, by the monotonic clock; `said`: None where it did not answer, or too late."""

    leaf: Leaf
    asked: float
    said: bytes | None
    late: bool


class Watch:
    """Of leaves that have a `caller`, from now until it is stopped; belongs to the event loop in which `told` is called
    with the news of one look."""

    def __init__(self, leaves: Sequence[Leaf], told: Callable[[Sequence[News]], None]) -> None:
        self.leaves = {leaf: leaf.caller for leaf in leaves}
        self._told, self._loop = told, asyncio.get_running_loop()
        extension, _ = loaded()  # which made their callers
        callers = list(self.leaves.values())
        about = {"path": LIST_PATH, "message": LISTED, "every": EVERY, "patience": LOOK}
        self._lookout = extension.Lookout(callers=callers, **about)
        for which, leaf in enumerate(self.leaves):
            leaf.watched = Watched(self._lookout, which)
        self._stopped = False
        threading.Thread(target=self._look, name="bebr-look").start()

    def stop(self) -> None:
        """Nothing is told from now on."""
        self._stopped = True
        self._lookout.stop()
        for leaf in self.leaves:
            leaf.watched = None

    def _look(self) -> None:
        while news := self._lookout.news():
            with suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._tell, news)

    def _tell(self, news: Sequence[tuple[int, int, bytes | None, bool]]) -> None:
        leaves = list(self.leaves)
        if not self._stopped:
            self._told([News(leaves[which], asked / 1e9, said, late) for which, asked, said, late in news])


class Watched:
    """One leaf of a `Watch`."""

    def __init__(self, lookout: Any, which: int) -> None:
        self._lookout, self._which = lookout, which

    def answered(self) -> float:
        """When it was asked last, by the monotonic clock, of those times that it answered as it did before."""
        return float(self._lookout.answered(self._which)) / 1e9

    def forget(self) -> None:
        """What it says next is told, whatever it is."""
        self._lookout.forget(self._which)
