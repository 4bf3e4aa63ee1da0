"""The server's log: lines of JSON or text that have the request's id; slow calls with what they did."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest

from bebr.v1 import bebr_pb2 as pb


@pytest.fixture
def call():
    """Lists the collections, or gets one; the id in the reply's metadata. ``id``: that of the request."""

    def made(server, id: str | None = None, name: str | None = None) -> str:
        metadata = () if id is None else (("x-request-id", id),)
        with grpc.insecure_channel(server.target) as channel:
            method = "List" if name is None else "Get"
            call = channel.unary_unary(f"/bebr.v1.Collections/{method}")
            request = b"" if name is None else pb.GetCollectionRequest(name=name).SerializeToString()
            try:
                _, done = call.with_call(request, metadata=metadata, timeout=20)
            except grpc.RpcError as error:
                done = error
            return dict(done.trailing_metadata())["x-request-id"]

    return made


def test_a_call_has_the_id_that_it_brought_or_one_of_its_own(server, call):
    assert call(server, "order-17/a") == "order-17/a"
    first, second = call(server), call(server)
    assert first and second and first != second
    assert call(server, "failed", name="nowhere") == "failed"
    assert call(server, "x" * 129) != "x" * 129  # a log's line keeps its length
    assert " " not in call(server, "two words")


def test_a_slow_search_says_what_it_did(start, tmp_path, bz, vectors, queries, call):
    with start(tmp_path, log_format="json", log_level="debug", slow_ms=0) as server:
        with server.connect() as client:
            docs = client.create_collection("docs", bz)
            docs.upsert(np.arange(400), vectors[:400], [{"even": i % 2 == 0} for i in range(400)])
            docs.settle()
            docs.search(queries[:3], k=7, filter={"even": True}, oversampling=9)
        call(server, "mine", name="nowhere")
        lines = [json.loads(line) for line in server.stop().splitlines()]
    slow = {line["method"]: line for line in lines if line["message"] == "slow call"}
    search = slow["Points/Search"]
    assert (search["level"], search["collection"], search["code"]) == ("warning", "docs", "OK")
    assert (search["queries"], search["k"], search["plan"]) == (3, 7, "filter oversampling=9")
    assert (search["rows"], search["segments"], search["filter_share"], search["batch"]) == (400, 1, 0.5, 3)
    assert 3 * 7 <= search["survivors"] <= search["scanned"] <= 3 * 400
    assert 0 < search["search_ms"] <= search["ms"] and search["queue_ms"] >= 0
    failed = next(line for line in lines if line["request_id"] == "mine")
    assert (failed["method"], failed["code"], failed["collection"]) == ("Collections/Get", "NOT_FOUND", "nowhere")
    assert all(line["time"].endswith("Z") for line in lines)


def test_text_has_time_level_logger_id_and_fields(start, tmp_path, call):
    with start(tmp_path, slow_ms=0) as server:
        call(server, "mine")
        line = server.stop().splitlines()[0]
    assert line[10] == "T" and " WARNING bebr.serve.calls mine slow call " in line
    assert 'method="Collections/List"' in line and 'code="OK"' in line


def test_what_libraries_warn_of_has_the_form_of_the_log(start, tmp_path):
    pytest.importorskip("uvicorn", reason="HTTP needs uvicorn: pip install 'bebr[http]'")
    with start(tmp_path, http=True, log_format="json") as server:
        address = urlsplit(server.http)
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(bytes(100) + b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
        (line,) = map(json.loads, server.stop().splitlines())
    assert (line["level"], line["logger"]) == ("warning", "uvicorn.error")


def test_calls_that_are_not_slow_are_not_logged(start, tmp_path, call):
    with start(tmp_path, slow_ms=60_000) as server:
        call(server)
        assert server.stop() == ""
