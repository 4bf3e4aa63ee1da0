"""An error repeats what the caller wrote, and goes back as a header: one that is too long for it is cut."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from bebr.serve.keys import KeyFile, Role
from bebr.serve.status import told
from bebr.v1 import bebr_pb2 as pb

LONG = "x" * 100_000


def method(channel: grpc.Channel, name: str, streaming: bool = False):
    kind = channel.stream_unary if streaming else channel.unary_unary
    return kind(f"/{name}", request_serializer=lambda message: message.SerializeToString())


@pytest.mark.parametrize("which", ["server", "python_server"])
def test_an_error_about_a_long_name_leaves_other_calls_alone(which, request, bz):
    running = request.getfixturevalue(which)
    begun, go_on = threading.Event(), threading.Event()

    def messages() -> Iterator[pb.UpsertRequest]:
        for row in range(2):
            vector = pb.Vectors(f32=np.ones(64, "<f4").tobytes(), dimension=64, count=1)
            yield pb.UpsertRequest(collection="long-errors", ids=np.array([row], "<i8").tobytes(), vectors=vector)
            begun.set()
            assert go_on.wait(30)

    with running.connect() as client, grpc.insecure_channel(running.target) as channel:
        docs = client.create_collection("long-errors", bz)
        stream = method(channel, "bebr.v1.Points/UpsertStream", streaming=True).future(messages(), timeout=60)
        assert begun.wait(30)
        for name in (LONG, "é" * 50_000):
            with pytest.raises(grpc.RpcError) as error:
                method(channel, "bebr.v1.Points/Count")(pb.CountRequest(collection=name), timeout=30)
            assert error.value.code() is grpc.StatusCode.NOT_FOUND, error.value
            assert error.value.details().startswith(f"no collection '{name[:500]}")
        go_on.set()
        stream.result()
        assert len(docs) == 2


def test_nor_does_the_health_of_one(start, tmp_path):
    token = KeyFile(tmp_path).create("some", Role.READ, ["docs"])
    with start(tmp_path) as running, grpc.insecure_channel(running.target) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        name = f"collection/{LONG}".encode()
        request = b"\x0a" + bytes([len(name) & 127 | 128, len(name) >> 7 & 127 | 128, len(name) >> 14]) + name
        with pytest.raises(grpc.RpcError) as error:
            check(request, metadata=[("authorization", f"Bearer {token}")], timeout=30)
        assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED, error.value


def test_what_is_cut_has_its_beginning_and_its_end():
    assert told("no collection 'docs'") == "no collection 'docs'"
    said = told(f"no collection {'é' * 9000!r} (of this stream, the first 7 rows are written)")
    assert said.startswith("no collection 'éé") and said.endswith("éé' (of this stream, the first 7 rows are written)")
    assert " … " in said and len(said.encode()) <= 2048
