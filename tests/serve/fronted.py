"""A server in this process, and how much of what it is asked its front answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import bebr
from bebr.serve.limits import Limits
from bebr.serve.server import Server


class Fronted:
    """A server in this process, whose front can be looked into."""

    def __init__(self, path, limits: Limits | None = None, database=None, **options) -> None:
        self._path, self._limits, self._options = path, limits or Limits(), options
        self._database = database or {}
        self._ready, self._stopping = threading.Event(), None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        with bebr.open(self._path, **self._database) as db:
            server = Server(db, self._limits, **self._options)
            self.target = f"127.0.0.1:{await server.start('127.0.0.1', 0)}"
            self.front, self.calls, self.metrics = server._front, server.calls, server.metrics
            self._ready.set()
            await self._stopping.wait()
            if self.front is not None:
                self.last = self.counts()
            await server.stop(5)

    def counts(self) -> dict[str, int]:
        return self.front._front.counts()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(20)


@contextlib.contextmanager
def answered(served: Fronted, count: int) -> Iterator[None]:
    """So many searches of the block are answered by the front itself."""
    before = served.counts()["answered"]
    yield
    assert served.counts()["answered"] - before == count
