"""A gate that calls pass, and that may be held: for what is not to happen beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._held, self._inside = asyncio.Lock(), 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """For the length of the block; waits as long as somebody holds the gate."""
        async with self._held:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """For the length of the block; waits until those have ended that have passed."""
        async with self._held:
            await self._empty.wait()
            yield
