"""The client by itself: what it repeats, how it is used wrongly, what it loads."""

from __future__ import annotations

import copy
import pickle
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

import bebr
from bebr.v1 import bebr_pb2 as pb


@pytest.fixture
def away():
    """A server that answers UNAVAILABLE as often as ``away.times`` says, and counts the calls of each method."""

    class Away(grpc.GenericRpcHandler):
        def __init__(self) -> None:
            self.times = 0
            self.names: list[str] = []
            self.calls: Counter[str] = Counter()

        def service(self, details):
            method = details.method.rsplit("/", 1)[1]

            def answer(request: bytes, context) -> bytes:
                if method == "Info":
                    return pb.InfoResponse(limits=pb.Limits(message_bytes=1 << 20)).SerializeToString()
                self.calls[method] += 1
                if self.calls[method] <= self.times:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "away")
                return pb.ListCollectionsResponse(names=self.names).SerializeToString() if method == "List" else b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    handler = Away()
    server.add_generic_rpc_handlers((handler,))
    handler.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield handler
    server.stop(None).wait()


def test_calls_are_repeated_while_the_server_is_away(away):
    away.times = 3
    with bebr.connect(away.target) as client:
        assert client.collections() == [] and away.calls["List"] == 4
        client.register_model(bebr.train(np.eye(64, dtype=np.float32), widths=[8], seed=0))
        assert away.calls["Register"] == 4
        # Had the first attempt succeeded unheard, the second might find another collection.
        away.calls.clear()
        away.names = ["docs"]
        with pytest.raises(ConnectionError, match="away"):
            client.drop_collection("docs")
        assert away.calls["Drop"] == 1


class Broken(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "the connection broke"


def broken_once(method, reached: bool):
    """``method``, whose first reply never arrives; ``reached``: its request does."""
    calls = []

    def call(request, timeout, metadata):
        calls.append(request)
        if reached or len(calls) > 1:
            reply = method(request, timeout=timeout, metadata=metadata)
        if len(calls) == 1:
            raise Broken
        return reply

    return call


@pytest.mark.parametrize("reached", [True, False])
def test_creating_and_dropping_over_a_connection_that_breaks(server, bz, vectors, monkeypatch, reached):
    with server.connect() as client:
        name, stubs = f"broken-{reached}", client._stubs
        monkeypatch.setitem(stubs, "Collections/Create", broken_once(stubs["Collections/Create"], reached))
        collection = client.create_collection(name, bz)
        assert len(collection) == 0 and collection.binarizer.digest == bz.digest
        collection.upsert([1], vectors[:1])
        monkeypatch.setitem(stubs, "Collections/Create", broken_once(stubs["Collections/Create"], False))
        with pytest.raises(ValueError, match=f"{name}.* already exists: it has 1 rows"):
            client.create_collection(name, bz)
        monkeypatch.setitem(stubs, "Collections/Create", broken_once(stubs["Collections/Create"], False))
        assert len(client.create_collection(name, bz, exist_ok=True)) == 1
        monkeypatch.setitem(stubs, "Collections/Drop", broken_once(stubs["Collections/Drop"], reached))
        if reached:
            client.drop_collection(name)
        else:
            with pytest.raises(ConnectionError, match="broke"):
                client.drop_collection(name)
        assert (name in client.collections()) == (not reached)


def test_a_large_message_is_repeated_too(away):
    away.times = 1
    with bebr.connect(away.target) as client:
        client.register_model(Large())
        assert away.calls["Register"] == 2


class Large(bebr.Binarizer):
    def __init__(self) -> None:
        pass

    def to_bytes(self) -> bytes:
        return bytes(8 << 20)


def test_calls_are_given_up_in_the_end(away):
    away.times = 10
    for retries in (0, 2):
        away.calls.clear()
        with bebr.connect(away.target, retries=retries) as client, pytest.raises(ConnectionError, match="away"):
            client.collections()
        assert away.calls["List"] == retries + 1


@pytest.mark.parametrize("retries", [-1, 5, 1.5, None])
def test_retries_are_checked(server, retries):
    with pytest.raises(ValueError, match=r"retries is .*: want 0 to 4"):
        bebr.connect(server.target, retries=retries)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_timeouts_are_checked(server, timeout):
    with pytest.raises(ValueError, match=r"timeout is .*: want"):
        bebr.connect(server.target, timeout=timeout)


def test_the_time_limit_of_calls_is_given_at_connect():
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begin = time.monotonic()
        with pytest.raises((TimeoutError, ConnectionError)):
            bebr.connect(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.5)
        assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    "sent", [lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
)
def test_a_connection_is_pickled_by_its_address(client, bz, vectors, sent):
    collection = client.create_collection(f"sent-{id(sent)}", bz)
    collection.upsert(range(5), vectors[:5])
    with sent(client) as other:
        assert other is not client and other.info()["target"] == client.info()["target"]
        assert collection.name in other.collections()
    assert len(client.collection(collection.name)) == 5  # the first is as open as before
    assert len(sent(collection)) == 5


def test_a_call_may_have_less_time_than_the_others(client):
    with pytest.raises(TimeoutError):
        for _ in range(1000):  # gRPC looks at its clock now and then
            client.within(1e-6).collections()
    assert isinstance(client.collections(), list)
    with pytest.raises(ValueError, match="timeout is 0"):
        client.within(0)


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import bebr; bebr.connect", ("grpc", "sqlalchemy", "google.protobuf")),
        ("import bebr.collection.checks, bebr.collection.protocol", ("grpc", "sqlalchemy", "google.protobuf")),
        ("import bebr.serve.client, bebr.serve.async_client", ("sqlalchemy", "bebr.store")),
        ("import bebr.store.database", ("grpc", "google.protobuf", "bebr.serve", "bebr.training", "bebr.bulk")),
    ],
    ids=["bebr", "collection", "clients", "store"],
)
def test_what_is_not_needed_is_not_loaded(code, unwanted):
    script = f"import sys; {code}; sys.exit(', '.join(name for name in {unwanted!r} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
