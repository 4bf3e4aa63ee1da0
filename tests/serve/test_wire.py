"""Bytes that no honest client sends: each call is answered by its status, no connection stops the server."""

from __future__ import annotations

import contextlib
import random
import socket
import struct

import grpc
import numpy as np
import pytest

from bebr.v1 import bebr_pb2 as pb

METHODS = [
    (f"/{service.full_name}/{method.name}", method.input_type.name)
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.fixture
def call(server):
    """A call of raw bytes: its status code and message (OK, "" where it was answered)."""
    with grpc.insecure_channel(server.target) as channel:

        def send(path: str, data: bytes) -> tuple[grpc.StatusCode, str]:
            try:
                channel.unary_unary(path)(data, timeout=30)
            except grpc.RpcError as error:
                return error.code(), error.details()
            return grpc.StatusCode.OK, ""

        yield send


@pytest.mark.parametrize(("path", "message"), METHODS, ids=[path for path, _ in METHODS])
def test_a_message_that_is_none_is_an_invalid_argument(call, path, message):
    for data in (b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe\x13"):
        code, details = call(path, data)
        assert code == grpc.StatusCode.INVALID_ARGUMENT, (code, details)
        assert f"not a bebr.v1.{message}" in details


def test_mutated_requests_are_answered(server, client, call, bz, vectors):
    """Thousands of requests that are almost right: no fault of the server, no write half done."""
    collection = client.create_collection("mutated", bz)
    collection.upsert(range(20), vectors[:20], [{"n": i} for i in range(20)])
    columns = pb.Vectors(f32=vectors[:2].tobytes(), dimension=64, count=2)
    two = np.arange(2).tobytes()
    honest = {
        "Upsert": pb.UpsertRequest(collection="mutated", ids=two, vectors=columns, payloads=["", '{"a": 1.5}']),
        "UpsertStream": pb.UpsertRequest(collection="mutated", ids=two, vectors=columns),
        "Search": pb.SearchRequest(collection="mutated", queries=columns, k=3, allow=two, with_payloads=True),
        "Truncate": pb.TruncateRequest(name="mutated-not"),
        "Delete": pb.DeleteRequest(collection="mutated", ids=two),
        "SetPayloads": pb.SetPayloadsRequest(collection="mutated", ids=two, payloads=["", '{"a": 2}'], merge=True),
        "Get": pb.GetRequest(collection="mutated", ids=two, with_payloads=True, with_vectors=True),
        "Scroll": pb.ScrollRequest(collection="mutated", limit=9, after=1, with_payloads=True, with_vectors=True),
        "GetPayloads": pb.GetPayloadsRequest(collection="mutated", ids=two),
        "Register": pb.RegisterModelRequest(data=bz.to_bytes()[:3000]),
        "Create": pb.CreateCollectionRequest(name="mutated-new", model=bz.digest),
        "Embed": pb.EmbedRequest(texts=["a"]),
    }
    chance = random.Random(0)
    faults = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
    paths = {path: honest[name] for path, _ in METHODS if (name := path.rsplit("/", 1)[1]) in honest}
    for _ in range(1500):
        path, request = chance.choice(list(paths.items()))
        code, details = call(path, mutated(request.SerializeToString(), chance))
        assert code not in faults, (path, code, details)
    assert collection.search(vectors[:1], 1).ids.shape == (1, 1)
    assert "Warning" not in server.errors() and "Traceback" not in server.errors()


def mutated(data: bytes, chance: random.Random) -> bytes:
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(min(len(data), 64) if chance.random() < 0.7 else len(data))
        match chance.randrange(4):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del data[at : at + chance.randint(1, 8)]
            case 3:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
        if not data:
            break
    return bytes(data)


def test_connections_of_garbage_do_not_stop_the_server(server, client):
    chance = random.Random(0)
    host, port = server.target.rsplit(":", 1)
    for _ in range(200):
        with socket.create_connection((host, int(port)), timeout=5) as connection, contextlib.suppress(OSError):
            connection.settimeout(0.05)
            connection.sendall(garbage(chance))
            connection.recv(4096)
    assert isinstance(client.collections(), list)


def garbage(chance: random.Random) -> bytes:
    """What a broken client might say after connecting: noise, or HTTP/2 frames of any type, flags and length."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(1, 200))
    frames = [_PREFACE, _SETTINGS]
    for _ in range(chance.randint(1, 8)):
        payload = chance.randbytes(chance.choice((0, 1, 4, 8, 40, 400)))
        length = len(payload) if chance.random() < 0.8 else chance.randrange(1 << 16)
        stream = chance.choice((0, 1, 1, 2, 3, 2**31 - 1))
        frames.append(struct.pack(">I", length)[1:] + bytes([chance.randrange(12), chance.randrange(256)]))
        frames.append(struct.pack(">I", stream) + payload)
    return b"".join(frames)
