"""Compressed requests: answered as others are, and counted before they are unpacked."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from tests.serve.conftest import FRONT

MIB = 1 << 20
PLAIN = grpc.Compression.NoCompression
FRONTS = [True, False] if FRONT else [False]


@pytest.fixture(params=FRONTS)
def served(request):
    return request.getfixturevalue("server" if request.param else "python_server")


def peak(pid: int) -> int:
    """Bytes of memory that a process has had at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def sent(channel: grpc.Channel, data: bytes, compression: grpc.Compression = PLAIN) -> grpc.Future:
    """A search whose message is these bytes."""
    return channel.unary_unary("/bebr.v1.Points/Search").future(data, compression=compression, timeout=60)


def refused(channel: grpc.Channel, data: bytes) -> tuple[grpc.StatusCode, str]:
    error = sent(channel, data).exception()
    assert isinstance(error, grpc.RpcError)
    return error.code(), error.details()


def test_compressed_requests_are_answered_as_others_are(served, name, bz):
    with served.connect() as client:
        client.create_collection(name, bz)
    zeros = pb.Vectors(f32=np.zeros((100, 64), np.float32).tobytes(), dimension=64, count=100)
    search = pb.SearchRequest(collection=name, queries=zeros, k=3)
    stream = [pb.UpsertRequest(collection=name, ids=np.arange(100).tobytes(), vectors=zeros)] * 2
    with grpc.insecure_channel(served.target, compression=grpc.Compression.Gzip) as channel:
        points = rpc.PointsStub(channel)
        assert points.UpsertStream(iter(stream)).received == 200
        packed = points.Search(search)
        assert packed.ids == points.Search(search, compression=PLAIN).ids and len(packed.ids) == 8 * 300
        checked = health_pb2.HealthCheckRequest(service="collection/" + "a" * 100)
        with pytest.raises(grpc.RpcError) as error:
            health_pb2_grpc.HealthStub(channel).Check(checked)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND  # it was read
    with grpc.insecure_channel(served.target, compression=grpc.Compression.Deflate) as channel:
        with pytest.raises(grpc.RpcError) as error:
            rpc.PointsStub(channel).Search(search)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED and "deflate" in error.value.details()


@pytest.mark.parametrize("end", [0, 5, MIB - 1, MIB + 1])
def test_one_that_lies_of_its_size_is_refused(served, end):
    packed = gzip.compress(bytes(MIB))[:-4] + struct.pack("<I", end)
    with grpc.insecure_channel(served.target) as channel:
        code, details = refused(channel, packed)
        assert code is grpc.StatusCode.INVALID_ARGUMENT and details.startswith("the request begins as gzip and ")


def test_one_that_is_cut_or_damaged_is_refused(served):
    packed = gzip.compress(np.random.default_rng(0).bytes(1000))
    with grpc.insecure_channel(served.target) as channel:
        for data in (packed[:2], packed[:500] + packed[-4:], packed[:20] + bytes(900) + packed[-8:], packed + packed):
            code, details = refused(channel, data)
            assert code is grpc.StatusCode.INVALID_ARGUMENT and "begins as gzip" in details


@pytest.mark.parametrize("front", FRONTS)
def test_small_messages_do_not_become_large_ones_all_at_once(start, tmp_path, front):
    with start(tmp_path, front=front, max_memory_bytes=256 * MIB) as server:
        before = peak(server.process.pid)
        with grpc.insecure_channel(server.target, options=[("grpc.max_send_message_length", -1)]) as channel:
            most = bytes(40 * MIB)
            calls = [sent(channel, most, grpc.Compression.Gzip) for _ in range(12)]
            for call in calls:
                assert call.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
            assert peak(server.process.pid) - before < 300 * MIB
            over = gzip.compress(bytes(49 * MIB))
            assert refused(channel, over) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the request has {49 * MIB} bytes unpacked: this server takes at most {48 * MIB}; send less at once",
            )
