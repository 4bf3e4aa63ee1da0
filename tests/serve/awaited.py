"""An asynchronous client as one that blocks, so that the tests of the contract are its own too."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bebr
from bebr.serve.async_client import AsyncClient, AsyncCollection


@contextmanager
def blocking(target: str) -> Iterator[Blocking]:
    """A client in a loop of another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        client = Blocking(asyncio.run_coroutine_threadsafe(bebr.connect_async(target), loop).result(), loop)
        yield client
        client.close()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Blocking:
    """Each method waits for what it awaits; ``len`` and ``in`` are asked as the manual says."""

    def __init__(self, it: AsyncClient | AsyncCollection, loop: asyncio.AbstractEventLoop) -> None:
        self._it = it
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._it, name)
        if inspect.ismethod(found):
            return lambda *args, **kwargs: self._waited(found(*args, **kwargs))
        return self._waited(found)

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, name: object) -> bool:
        return name in self.collections()

    def _waited(self, found: Any) -> Any:
        if inspect.iscoroutine(found):
            found = asyncio.run_coroutine_threadsafe(found, self._loop).result()
        return Blocking(found, self._loop) if isinstance(found, AsyncClient | AsyncCollection) else found
