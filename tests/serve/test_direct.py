"""Searches past gRPC's Python client: what a caller sees is as by gRPC. All of the contract runs over them, too."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import numpy as np
import pytest

import bebr
from bebr.serve.answers import Answer
from bebr.serve.channel import Address
from bebr.serve.convert import vectors_from_message
from bebr.serve.direct import direct_searches
from bebr.serve.messages import before_queries
from bebr.serve.steps import Search
from bebr.v1 import bebr_pb2 as pb
from tests.serve.fronted import Fronted, answered

pytest.importorskip("bebr._front", reason="built without libnghttp2")

ASKED = Search(pb.SearchRequest(collection="docs", k=9).SerializeToString(), None, 9, ascending=False, whole=False)


def response(count: int, **beside) -> pb.SearchResponse:
    return pb.SearchResponse(counts=[count], ids=bytes(8 * count), scores=bytes(4 * count), **beside)


class Scripted(grpc.GenericRpcHandler):
    """Answers searches by gRPC's own server, as ``answer(context)`` says."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun, self.ended = threading.Event(), threading.Event()
        self.answer = lambda context: response(7)

    def service(self, details):
        def answer(request: bytes, context) -> bytes:
            self.calls += 1
            self.request = request
            context.add_callback(self.ended.set)
            self.begun.set()
            return self.answer(context).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)

    def late(self, context) -> pb.SearchResponse:
        self.ended.wait(20)
        return pb.SearchResponse()


@pytest.fixture
def server():
    made = grpc.server(ThreadPoolExecutor(4))
    handler = Scripted()
    made.add_generic_rpc_handlers((handler,))
    handler.target = f"127.0.0.1:{made.add_insecure_port('127.0.0.1:0')}"
    made.start()
    yield handler
    handler.ended.set()
    made.stop(None).wait()


def direct(target: str, **about):
    made, how = direct_searches(Address.of(target, 60, about.pop("retries", 4), about.pop("token", None), None))
    assert how == "direct"
    return made


def counts(answer: Answer) -> list[int]:
    return (answer.ids >= 0).sum(axis=1).tolist()


def test_a_client_searches_past_grpc_and_says_so(tmp_path, bz, vectors, monkeypatch):
    served = Fronted(tmp_path)
    try:
        with bebr.connect(served.target) as client:
            assert client.info()["searches"] == "direct"
            docs = client.create_collection("docs", bz)
            docs.upsert(range(3000), vectors)
            wanted = docs.search(vectors, 100)
            monkeypatch.delitem(client._stubs, "Points/Search")
            with answered(served, 1):
                assert docs.search(vectors[5], 1).ids.tolist() == [[5]]
            found = docs.search(vectors, 100)  # messages of megabytes, both ways
            np.testing.assert_array_equal(found.ids, wanted.ids)
            with ThreadPoolExecutor(8) as threads:
                alike = threads.map(lambda i: int(docs.search(vectors[i], 1).ids[0, 0]), range(200))
                assert list(alike) == list(range(200))
    finally:
        served.stop()


@pytest.mark.parametrize(
    ("target", "tls", "why"), [("unix:/run/x", None, "resolve"), ("dns:///x", None, "resolve"), ("host", True, "TLS")]
)
def test_what_goes_by_grpc_is_said(target, tls, why):
    made, how = direct_searches(Address.of(target, None, 4, None, tls))
    assert made is None and how.startswith("by gRPC: ") and why in how


def test_an_answer_and_the_token_that_came_with_it(server):
    def answer(context):
        assert dict(context.invocation_metadata())["authorization"] == "Bearer secret"
        assert 50 < context.time_remaining() < 61
        return response(7)

    server.answer = answer
    made = direct(server.target, token="secret")
    assert [counts(made.search(ASKED, 60)) for _ in range(3)] == [[7]] * 3


def test_an_answer_that_is_more_than_hits_comes_with_all_of_it(server):
    made = direct(server.target)
    assert made.search(ASKED, 60).message is None
    assert made.search(replace(ASKED, whole=True), 60).message == response(7)
    server.answer = lambda context: response(2, payloads=["{}", ""])
    assert made.search(ASKED, 60).message.payloads == ["{}", ""]


def test_bytes_that_are_no_answer(server):
    server.answer = lambda context: response(10)
    with pytest.raises(ConnectionError, match="bytes that are no answer: reply is no SearchResponse of up to 9 hits"):
        direct(server.target).search(ASKED, 60)


def test_queries_follow_what_stands_before_them(server):
    made, q = direct(server.target), np.arange(12, dtype=np.float32).reshape(3, 4)
    for sent in (q, q.astype(np.float16), q[1:2]):
        made.search(Search(before_queries(sent), sent, 9, ascending=False, whole=False), 60)
        assert vectors_from_message(pb.SearchRequest.FromString(server.request).queries, "q").tolist() == sent.tolist()
    with pytest.raises(ValueError, match="not in C order"):
        made.search(Search(b"", q.T, 9, ascending=False, whole=False), 60)


def test_an_error_has_the_words_of_the_server(server):
    server.answer = lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no Käse: 100 % of it\nis gone")
    with pytest.raises(KeyError, match="no Käse: 100 % of it\\\\nis gone"):
        direct(server.target).search(ASKED, 60)


def test_a_server_that_is_away_is_asked_again_by_grpc_where_calls_are_repeated(server):
    server.answer = lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "away")
    assert direct(server.target).search(ASKED, 60) is None
    with pytest.raises(ConnectionError, match="away"):
        direct(server.target, retries=0).search(ASKED, 60)
    assert server.calls == 2


def test_the_time_limit_ends_a_call_here_and_there(server):
    server.answer = server.late
    made = direct(server.target)
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        made.search(ASKED, 0.5)
    assert 0.5 <= time.monotonic() - begin < 10
    assert server.ended.wait(10) or not server.begun.is_set()  # a busy machine may not have come to it
    server.answer = lambda context: response(1)
    assert counts(made.search(ASKED, None)) == [1]


def test_closing_ends_calls_in_progress(server):
    server.answer = server.late
    made = direct(server.target)
    with ThreadPoolExecutor(1) as thread:
        waits = thread.submit(made.search, ASKED, None)
        assert server.begun.wait(10)
        made.close()
        assert waits.result(10) is None  # and gRPC has words for it
    assert server.ended.wait(10) and made.search(ASKED, None) is None


def test_a_signal_is_heard_while_a_call_waits(server):
    def heard(*_: object) -> None:
        raise KeyboardInterrupt

    server.answer = server.late
    before = signal.signal(signal.SIGALRM, heard)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            direct(server.target).search(ASKED, None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert server.ended.wait(10) or not server.begun.is_set()


def test_a_connection_that_the_server_ended_is_not_used_again(tmp_path, bz, vectors):
    served = Fronted(tmp_path)
    with bebr.connect(served.target) as client:
        docs = client.create_collection("docs", bz)
        docs.upsert(range(10), vectors[:10])
        assert docs.search(vectors[3], 1).ids.tolist() == [[3]]
        served.stop()
        assert client._direct.search(ASKED, 5) is None


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(200)], ids=["end", "http1", "zeros"])
def test_a_server_of_something_else(said):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(said)

        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(once)
            assert direct(f"127.0.0.1:{listener.getsockname()[1]}").search(ASKED, 10) is None
            done.result(10)


def test_the_child_of_a_fork_leaves_the_connections_to_its_parent(server, monkeypatch):
    made = direct(server.target)
    assert counts(made.search(ASKED, 60)) == [7]
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert made.search(ASKED, 60) is None
    made.close()
    monkeypatch.undo()
    assert counts(made.search(ASKED, 60)) == [7]
