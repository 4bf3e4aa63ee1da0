"""What one call, or all calls together, may ask of a server: refused early, with the limit in the message."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

import bebr
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from tests.conftest import payloads_of


def refused(call) -> str:
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error.value
    return error.value.details()


@pytest.fixture
def points(server):
    with grpc.insecure_channel(server.target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield rpc.PointsStub(channel)


def test_a_reply_is_summed_up_before_it_is_built(server, client, points, bz, vectors):
    """160 kB of ids once asked for 20 GB of payloads, and the server died."""
    collection = client.create_collection("heavy", bz)
    collection.upsert([3, 4], vectors[:2], [{"text": "x" * 1_000_000}, None])
    queries = pb.Vectors(f32=np.tile(vectors[0], (20_000, 1)).tobytes(), dimension=64, count=20_000)
    search = pb.SearchRequest(collection="heavy", queries=queries, k=1, with_payloads=True)
    payloads = pb.GetPayloadsRequest(collection="heavy", ids=np.full(20_000, 3).tobytes())
    before = peak_kb(server)
    for call in (lambda: points.Search(search), lambda: points.GetPayloads(payloads)):
        begin = time.monotonic()
        assert "the reply would have 20000" in refused(call)
        assert time.monotonic() - begin < 5
    assert peak_kb(server) - before < 300_000
    assert len(payloads_of(collection, [3] * 80)) == 80  # the client asks for it once


def peak_kb(server) -> int:
    """The most memory that the server has used so far, in kB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_large_payloads_come_in_as_many_replies_as_they_need(start, tmp_path, bz, vectors):
    with start(tmp_path, max_message_bytes=64 * 1024) as server, server.connect() as client:
        collection = client.create_collection("docs", bz)
        texts = [{"text": f"{i}" * 20_000} for i in range(8)]
        collection.upsert(range(8), vectors[:8], texts)
        assert payloads_of(collection, range(8)) == texts
        assert [row.payload for row in collection.scroll()] == texts
        assert [row.id for row in collection.scroll(limit=5, after=1)] == [2, 3, 4, 5, 6]
        collection.upsert(range(3000), vectors)
        assert len([row.vector for row in collection.get(range(3000), vectors=True)]) == 3000
        assert len(collection.scroll(limit=2500, vectors=True)) == 2500


def test_ids_of_a_call_are_limited_and_the_client_keeps_to_it(client, points, bz, vectors):
    most = client.info()["limits"]["ids"]
    collection = client.create_collection("ids", bz)
    collection.upsert(range(10), vectors[:10])
    many = np.arange(most + 1)
    queries = pb.Vectors(f32=vectors[:1].tobytes(), dimension=64, count=1)
    for call in (
        lambda: points.Delete(pb.DeleteRequest(collection="ids", ids=many.tobytes())),
        lambda: points.GetPayloads(pb.GetPayloadsRequest(collection="ids", ids=many.tobytes())),
        lambda: points.Get(pb.GetRequest(collection="ids", ids=many.tobytes())),
        lambda: points.Scroll(pb.ScrollRequest(collection="ids", limit=most + 1)),
        lambda: points.Search(pb.SearchRequest(collection="ids", queries=queries, k=1, allow=many.tobytes())),
    ):
        details = refused(call)
        assert str(most + 1) in details and f"at most {most}" in details
    with pytest.raises(bebr.LimitExceeded, match=f"at most {most}"):
        collection.search(vectors[:1], 1, allow=many)
    client._calls.limits.ids = 4
    assert payloads_of(collection, range(10)) == [None] * 10
    assert collection.delete(range(1, 20)) == 9 and len(collection) == 1


def test_calls_in_progress_hold_no_more_memory_than_was_given(start, tmp_path, bz, vectors):
    """Eight writers of large messages at once: those over the budget are refused before any work; small calls pass."""
    with start(tmp_path, max_memory_bytes=64 << 20) as server, server.connect() as client:
        limits = client.info()["limits"]
        assert limits["memory_bytes"] == 64 << 20
        assert limits["message_bytes"] < 64 << 20  # a message that no budget has room for is no message
        collection = client.create_collection("docs", bz)
        rows = (limits["message_bytes"] - 4096) // 264
        columns = pb.Vectors(f32=np.tile(vectors, (rows // 3000 + 1, 1))[:rows].tobytes(), dimension=64, count=rows)
        outcomes: list[object] = []

        def write(part: int) -> None:
            ids = np.arange(rows) + part * rows
            request = pb.UpsertRequest(collection="docs", ids=ids.tobytes(), vectors=columns)
            with grpc.insecure_channel(server.target) as channel:
                try:
                    outcomes.append(rpc.PointsStub(channel).Upsert(request).rows)
                except grpc.RpcError as error:
                    outcomes.append((error.code(), error.details()))

        writers = [threading.Thread(target=write, args=[part]) for part in range(8)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            assert len(client.collections()) == 1
        written = [outcome for outcome in outcomes if isinstance(outcome, int)]
        assert written and len(written) < 8 and all(count == rows for count in written)
        for code, details in (outcome for outcome in outcomes if not isinstance(outcome, int)):
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "max_memory_bytes" in details
        assert len(collection) == sum(written)


def test_rows_without_a_vector_count_as_the_vectors_that_they_become(start, tmp_path, bz):
    with start(tmp_path, max_memory_bytes=64 << 20) as server, server.connect() as client:
        collection = client.create_collection("docs", bz)
        with grpc.insecure_channel(server.target) as channel:
            ids = np.arange(200_000)
            request = pb.UpsertRequest(collection="docs", ids=ids.tobytes(), without_vector=ids)
            assert "rows without a vector" in refused(lambda: rpc.PointsStub(channel).Upsert(request))
            request = pb.UpsertRequest(collection="docs", ids=ids[:2].tobytes(), without_vector=[1, 0])
            with pytest.raises(grpc.RpcError, match="without_vector is not of different rows"):
                rpc.PointsStub(channel).Upsert(request)
        assert len(collection) == 0
        assert collection.upsert(range(20_000), None) == 20_000  # in pieces that the server takes
