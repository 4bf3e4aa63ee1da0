"""The client of event loops: what it does that a blocking one does not. The contract is in test_contract.py."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import time
import urllib.request

import numpy as np
import pytest

import bebr
from bebr.serve.async_client import AsyncClient, AsyncCollection
from bebr.serve.client import Client, RemoteCollection


@pytest.fixture
def run(server):
    """Runs ``work(client)`` in a loop of its own."""

    def run(work):
        async def whole():
            async with await bebr.connect_async(server.target) as client:
                return await work(client)

        return asyncio.run(whole())

    return run


@pytest.fixture(scope="module")
def docs(server, bz, vectors):
    """The name of a collection of 2,000 rows."""
    with server.connect() as client:
        client.create_collection("awaited", bz).upsert(range(2000), vectors[:2000])
    return "awaited"


def held_bytes(metrics: str) -> float:
    """Of the memory of requests, what a server holds by its `/metrics`."""
    with urllib.request.urlopen(metrics) as reply:
        lines = reply.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("bebr_memory_held_bytes ")))


@pytest.mark.parametrize(("blocking", "awaited"), [(Client, AsyncClient), (RemoteCollection, AsyncCollection)])
def test_both_clients_have_the_same_methods_of_the_same_arguments(blocking, awaited):
    def public(kind) -> dict[str, inspect.Signature]:
        functions = inspect.getmembers(kind, inspect.isfunction)
        return {name: inspect.signature(one) for name, one in functions if not name.startswith("_")}

    assert {name: one.parameters for name, one in public(blocking).items()} == {
        name: one.parameters for name, one in public(awaited).items()
    }


def test_a_hundred_searches_are_in_flight_at_once_on_one_connection(run, docs, vectors):
    async def work(client):
        collection = await client.collection(docs)
        found = await asyncio.gather(*(collection.search(vectors[i], 1) for i in range(100)))
        return [int(hits.ids[0, 0]) for hits in found], (await collection.stats()).batching

    ids, batching = run(work)
    assert ids == list(range(100))
    assert batching.largest > 1  # they were joined, so they were there at once


def test_a_long_call_does_not_hold_up_the_loop(run, docs, vectors):
    async def work(client):
        collection = await client.collection(docs)
        long = asyncio.create_task(collection.search(np.repeat(vectors, 10, axis=0), 50))
        ticks = 0
        while not long.done():
            await asyncio.sleep(0.001)
            ticks += 1
        return ticks, (await long).ids.shape

    ticks, shape = run(work)
    assert shape == (30_000, 50) and ticks >= 3


def test_a_cancelled_task_cancels_its_call_on_the_server(start, tmp_path, bz, vectors):
    pytest.importorskip("prometheus_client")

    async def held(metrics, wanted):
        """Waits until the server holds memory for a request, or none."""
        end = time.monotonic() + 60
        while (held_bytes(metrics) > 0) != wanted:
            assert time.monotonic() < end, "it did not come about"
            await asyncio.sleep(0.01)

    async def work(target, metrics):
        async with await bebr.connect_async(target) as client:
            collection = await client.create_collection("docs", bz)
            await collection.upsert(range(3000), vectors)
            allow = np.arange(3000)
            # Pieces of 256 queries that are searched one after the other: seconds.
            task = asyncio.create_task(collection.search(np.repeat(vectors, 20, axis=0), 100, allow=allow, exact=True))
            await held(metrics, True)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await held(metrics, False)
            assert (await collection.search(vectors[:1], 1)).ids[0, 0] == 0  # the connection goes on

    with start(tmp_path, log_level="debug", front=False, metrics_port=0) as server:
        asyncio.run(work(server.target, server.process.stdout.readline().split()[-1]))
        said = server.stop()
    assert any("Points/Search" in line and "CANCELLED" in line for line in said.splitlines())


def test_the_time_limit_of_a_call(run):
    async def work(client):
        with pytest.raises(TimeoutError):
            for _ in range(1000):  # gRPC looks at its clock now and then
                await client.within(1e-6).collections()
        return await client.collections()

    assert isinstance(run(work), list)


def test_a_closed_connection_says_so(run):
    async def work(client):
        await client.close()
        with pytest.raises(ValueError, match="is closed: connect again"):
            await client.collections()

    run(work)


def test_errors_are_those_of_the_other_client(run, docs):
    async def work(client):
        with pytest.raises(KeyError, match="none"):
            await client.collection("none")
        collection = await client.collection(docs)
        with pytest.raises(ValueError, match="k is 0"):
            await collection.search([[1.0] * 64], 0)
        with pytest.raises(ValueError, match="a server takes no files"):
            await collection.attach("x.index")

    run(work)
    with pytest.raises(ConnectionError, match="no answer from a bebr server"):
        asyncio.run(bebr.connect_async("127.0.0.1:1", retries=0))
    with pytest.raises(ValueError, match="retries is 7"):
        asyncio.run(bebr.connect_async("127.0.0.1", retries=7))


def test_what_was_unpickled_connects_with_its_first_call(run, docs, vectors):
    async def work(client):
        sent = pickle.dumps((client.within(9), await client.collection(docs)))
        again, collection = pickle.loads(sent)
        assert repr(again) == repr(client) and collection.name == docs
        assert (await collection.search(vectors[5], 1)).ids.tolist() == [[5]]
        assert docs in await again.collections()
        await collection.client.close()
        await again.close()

    run(work)
