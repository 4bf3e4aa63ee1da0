"""The state machine of a collection, on a server over a real socket: with its front, and where Python answers all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

import bebr
from bebr.serve.limits import Limits
from bebr.serve.server import Server
from bebr.store.database import Database
from tests.serve.conftest import FRONT
from tests.store.test_state_machine import machine


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """That servers run in, in a thread of its own: a process takes seconds to start, and a machine restarts often."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


@pytest.mark.parametrize(
    ("metric", "keep", "index", "front"),
    [("cosine", "float16", "auto", FRONT), ("l2", None, "auto", False), ("cosine", "int8", "graph", FRONT)],
)
def test_a_served_collection_equals_a_dict(vectors, queries, loop, metric, keep, index, front):
    async def start(db: Database) -> tuple[Server, int]:
        server = Server(db, Limits(), True, front=front)
        return server, await server.start("127.0.0.1", 0)

    def served(db: Database) -> tuple[bebr.serve.client.Client, Callable[[], None]]:
        server, port = asyncio.run_coroutine_threadsafe(start(db), loop).result(30)
        client = bebr.connect(f"127.0.0.1:{port}")

        def stop() -> None:
            client.close()
            asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(30)

        return client, stop

    bz = bebr.train(vectors, widths=[48, 16], metric=metric, seed=0)
    models = bebr.untrained(64, 18, metric=metric), index, bebr.untrained(64, 26, metric=metric, seed=1)
    run_state_machine_as_test(
        machine(bz, vectors, queries, keep, *models, served),
        settings=settings(
            max_examples=4,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
