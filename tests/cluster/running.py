"""Leaves and roots in this process, in an event loop of a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from bebr.cluster.names import Taken
from bebr.cluster.root import Root
from bebr.serve.channel import Address
from bebr.serve.keys import KeyFile
from bebr.serve.limits import Limits
from bebr.serve.server import Server
from bebr.store.database import Database
from tests.serve.conftest import FRONT


class Loop:
    """`run` waits for a coroutine in it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._running: dict[str, Server | Root] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def leaf(self, db: Database, *shards: str, port: int = 0, keys: KeyFile | None = None) -> str:
        """A leaf that takes these shards of an open database; its address."""

        async def start() -> tuple[Server, int]:
            server = Server(db, Limits(), keys=keys, front=FRONT, taken=Taken(shards))
            return server, await server.start("127.0.0.1", port)

        return self._begun(*self.run(start()))

    def root(
        self,
        leaves: Sequence[str] | Callable[[], Sequence[str]],
        shards: int,
        patience: float = 10.0,
        front: bool = FRONT,
        token: str | None = None,
    ) -> str:
        async def start() -> tuple[Root, int]:
            made = Address.of
            root = Root(leaves, lambda leaf: made(leaf, None, 0, token, None), shards, Limits(), patience, front=front)
            return root, await root.start("127.0.0.1", 0)

        return self._begun(*self.run(start()))

    def _begun(self, server: Server | Root, port: int) -> str:
        self._running[f"127.0.0.1:{port}"] = server
        return f"127.0.0.1:{port}"

    def look(self, root: str) -> None:
        """Has a root ask all its leaves, until each has answered: a busy machine may take its time."""
        leaves = self._running[root].leaves
        until(lambda: (self.run(leaves.look(30.0)), all(leaf.alive for leaf in leaves.all))[1])

    def of(self, address: str) -> Any:
        return self._running[address]

    def stop(self, address: str, grace: float = 0.0) -> None:
        self.run(self._running.pop(address).stop(grace))

    def close(self) -> None:
        for address in reversed(list(self._running)):
            self.stop(address)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def loop():
    made = Loop()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def asked(docs, q, wanted, pause=0.0, **how):
    """Searches for the length of the block, `pause` seconds apart, each of which has to find just `wanted`: ids as
    lists, and scores. Yields what grows by one with every answer."""
    failed, answered, stop = [], [], threading.Event()

    def ask() -> None:
        while not stop.wait(pause):
            try:
                hits = docs.search(q, 5, exact=True, **how)
                assert hits.ids.tolist() == wanted[0]
                np.testing.assert_array_equal(hits.scores, wanted[1])
                answered.append(1)
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answered
    finally:
        stop.set()
        thread.join()
    print(f"{len(answered)} searches answered, {len(failed)} failed")
    assert failed == [] and answered


def until(condition) -> None:
    """Waits for what another thread or process brings about."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
