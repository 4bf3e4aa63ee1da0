"""Streams of upserts: in order, no faster than the disk, within the memory of calls, and what an error leaves."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from pathlib import Path

import grpc
import numpy as np
import pytest

import bebr
from bebr.errors import LimitExceeded
from bebr.serve import convert, wire
from bebr.serve.admission import COPIES, Budget
from bebr.serve.budgets import Budgets, Most
from bebr.serve.registry import ServedCollection
from bebr.serve.upserting import _WINDOW, StreamedUpsert
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc


class Held:
    """A registry of one collection whose writes are on disk when the test says so."""

    def __init__(self) -> None:
        self.writes: list[Future[int]] = []
        self.budgets = Budgets(Most(), Path(), lambda: 0, lambda: 0)

    async def served(self, name: str) -> Held:
        return self

    async def begin(self, work) -> Future[int]:
        self.writes.append(Future())
        return self.writes[-1]

    finish = staticmethod(ServedCollection.finish)


def stream(scenario, messages: int = 20, size: int = 100, memory: int = 1 << 30):
    """Runs scenario(held, taken, task, budget) beside a stream of messages; ``taken`` has those that were read."""

    async def main():
        held, taken, budget = Held(), [], Budget(memory)

        async def sent():
            for number in range(messages):
                taken.append(number)
                yield b"x" * size

        streamed = StreamedUpsert(held, budget, lambda data: pb.UpsertRequest(collection="docs"))
        task = asyncio.create_task(streamed.run(sent()))
        await asyncio.sleep(0.01)
        await scenario(held, taken, task, budget)
        assert budget.held == 0
        return streamed.rows

    return asyncio.run(main())


async def _on_disk(held: Held, number: int, rows: int = 10) -> None:
    held.writes[number].set_result(rows)
    await asyncio.sleep(0.01)


def test_messages_are_read_as_fast_as_they_are_written():
    async def scenario(held, taken, task, budget):
        assert len(held.writes) == len(taken) == _WINDOW
        assert budget.held == _WINDOW * COPIES * 100
        await _on_disk(held, 1)
        assert len(taken) == _WINDOW  # the first is still on its way
        for number in range(20):
            if number != 1:
                await _on_disk(held, number)
            assert len(held.writes) <= max(number, 1) + 1 + _WINDOW
        await task

    assert stream(scenario) == 200


def test_a_message_waits_for_memory_that_its_stream_holds():
    async def scenario(held, taken, task, budget):
        assert len(held.writes) == 1 and len(taken) == 2
        for number in range(20):
            await _on_disk(held, number)
        await task

    assert stream(scenario, memory=COPIES * 150) == 200


def test_a_message_for_which_there_is_no_memory_is_refused():
    async def scenario(held, taken, task, budget):
        with pytest.raises(LimitExceeded, match="a message of the stream needs about 400 bytes"):
            await task
        assert not held.writes

    assert stream(scenario, memory=300) == 0


def test_an_error_tells_how_many_rows_are_on_disk_and_takes_back_the_rest():
    async def scenario(held, taken, task, budget):
        await _on_disk(held, 0)
        held.writes[1].set_exception(LimitExceeded("the disk is full"))
        await asyncio.sleep(0.01)
        for write in held.writes[2:]:
            assert write.cancelled()
        with pytest.raises(LimitExceeded, match=r"the disk is full \(of this stream, the first 10 rows are written\)"):
            await task

    assert stream(scenario) == 10


def test_a_cancelled_stream_takes_back_what_is_not_begun():
    async def scenario(held, taken, task, budget):
        assert held.writes[0].set_running_or_notify_cancel()
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done() and budget.held  # the first is being written
        await _on_disk(held, 0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(write.cancelled() for write in held.writes[1:])

    stream(scenario)


# Over the wire


@pytest.fixture
def points(server):
    with grpc.insecure_channel(server.target) as channel:
        yield rpc.PointsStub(channel)


def message(ids, x, name=""):
    return pb.UpsertRequest(
        collection=name, ids=convert.ids_to_bytes(np.asarray(ids)), vectors=convert.vectors_to_message(x)
    )


def test_later_messages_replace_rows_of_earlier_ones(client, points, bz, vectors):
    collection = client.create_collection("streamed", bz)
    sent = [
        message(np.arange(100) + 50 * i, vectors[100 * i : 100 * i + 100], "" if i else "streamed") for i in range(20)
    ]
    assert points.UpsertStream(iter(sent)).rows == 2000
    assert len(collection) == 1050
    want = client.create_collection("streamed-want", bz)
    want.upsert(
        np.arange(50, 1050),
        np.concatenate([vectors[100 * i : 100 * i + 50] for i in range(1, 20)] + [vectors[1950:2000]]),
    )
    got = collection.search(vectors[:50], 5, allow=np.arange(50, 1050))
    np.testing.assert_array_equal(got.ids, want.search(vectors[:50], 5).ids)
    assert points.UpsertStream(iter([])).rows == 0


@pytest.mark.parametrize(
    ("wrong", "code", "text"),
    [
        (
            dict(name="other"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "collection is 'other': want 'broken-off'",
        ),
        (dict(ids=[-1]), grpc.StatusCode.INVALID_ARGUMENT, "-1"),
    ],
)
def test_messages_before_a_wrong_one_are_written(client, points, bz, vectors, wrong, code, text):
    collection = client.create_collection("broken-off", bz, exist_ok=True)
    collection.truncate()
    sent = [message(np.arange(10) + 10 * i, vectors[:10], "broken-off") for i in range(6)]
    sent.insert(3, message(**{"ids": [7], "x": vectors[:1], "name": "broken-off", **wrong}))
    with pytest.raises(grpc.RpcError) as failure:
        points.UpsertStream(iter(sent))
    assert failure.value.code() == code and text in failure.value.details()
    assert "(of this stream, the first 30 rows are written)" in failure.value.details()
    assert len(collection) == 30


def test_a_stream_to_no_collection(points, vectors):
    with pytest.raises(grpc.RpcError) as failure:
        points.UpsertStream(iter([message([1], vectors[:1], "streamed-nowhere")]))
    assert failure.value.code() == grpc.StatusCode.NOT_FOUND


class Broken(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "the connection broke"


class Late(Broken):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.fixture
def rows(monkeypatch):
    """2,000 rows that go in many pieces: payloads make them large."""
    monkeypatch.setattr(wire, "_PIECE_BYTES", 100_000)
    return np.arange(2000), [{"n": i} for i in range(2000)]


@pytest.mark.parametrize("raised", [Broken(), Late(), None], ids=["away", "late", "lost"])
def test_an_upsert_whose_stream_breaks_off_or_loses_messages_is_whole(server, bz, vectors, rows, monkeypatch, raised):
    with server.connect() as client:
        collection = client.create_collection(f"broke-{type(raised).__name__}", bz)
        sends = client._stubs["Points/UpsertStream"]
        calls = []

        def broken(messages, timeout, metadata):
            calls.append(list(messages))
            reply = sends(iter(calls[-1][:2]), timeout=timeout)
            if raised:
                raise raised
            return reply

        monkeypatch.setitem(client._stubs, "Points/UpsertStream", broken)
        assert collection.upsert(rows[0], vectors[:2000], rows[1]) == 2000 == len(collection)
        assert len(calls) == 1 and 2 < len(calls[0]) <= 16


def test_a_client_that_repeats_nothing_says_that_a_stream_broke_off(server, bz, vectors, rows, monkeypatch):
    with bebr.connect(server.target, retries=0) as client:
        collection = client.create_collection("broke-once", bz)

        def broken(messages, timeout, metadata):
            raise Broken

        monkeypatch.setitem(client._stubs, "Points/UpsertStream", broken)
        with pytest.raises(ConnectionError, match="the connection broke"):
            collection.upsert(rows[0], vectors[:2000], rows[1])
