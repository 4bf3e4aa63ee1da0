"""A server that the system gives no more says so, loses nothing, and goes on once there is more."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest

import bebr
from tests.serve.conftest import FRONT


@contextlib.contextmanager
def limited(server, kind: int, value: int):
    """The server's soft limit of a kind, for the length of a block."""
    before = resource.prlimit(server.process.pid, kind)
    resource.prlimit(server.process.pid, kind, (value, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, kind, before)


def test_a_limit_on_the_size_of_files(start, tmp_path, bz, vectors, queries):
    with start(tmp_path) as server, server.connect() as client:
        collection = client.create_collection("docs", bz)
        collection.upsert(range(10), vectors[:10])
        with limited(server, resource.RLIMIT_FSIZE, 400_000), pytest.raises(bebr.LimitExceeded):
            for i in range(10, 400):
                collection.upsert([i], vectors[i : i + 1], [{"text": "x" * 10_000}])
        rows = len(collection)
        assert 10 <= rows < 400
        assert (collection.search(queries, 5).ids >= 0).all()
        assert collection.upsert([1000], vectors[:1]) == 1 and len(collection) == rows + 1


def test_no_more_open_files(start, tmp_path, bz):
    with start(tmp_path) as server, server.connect() as client:
        other = bebr.train(np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32), widths=[16], seed=0)
        # A new file needs a number under the limit; 0 to 2 are always taken, any other may become free meanwhile.
        with limited(server, resource.RLIMIT_NOFILE, 3), pytest.raises(bebr.LimitExceeded, match="open files"):
            client.register_model(other)
        assert client.register_model(other) == other.digest


def test_connections_of_http_wait_for_open_files_and_do_not_fill_the_log(start, tmp_path):
    pytest.importorskip("uvicorn", reason="HTTP needs uvicorn: pip install 'bebr[http]'")
    with start(tmp_path, http=True) as server:
        address = urlsplit(server.http)
        with limited(server, resource.RLIMIT_NOFILE, 3):
            waiting = HTTPConnection(address.hostname, address.port, timeout=20)
            waiting.request("GET", "/v1/health")
            time.sleep(1.5)  # asyncio tries again after a second
        assert waiting.getresponse().status == 200
        waiting.close()
        assert 1 <= server.stop().count("accept() out of system resource") <= 2


def test_scrapes_of_metrics_wait_for_open_files_without_a_core(start, tmp_path):
    with start(tmp_path, metrics_port=0) as server:
        address = urlsplit(server.process.stdout.readline().split()[-1])
        with limited(server, resource.RLIMIT_NOFILE, 3):
            before = server.computed()
            waiting = HTTPConnection(address.hostname, address.port, timeout=20)
            waiting.request("GET", "/metrics")
            time.sleep(2)
            assert server.computed() - before < 0.2
        assert waiting.getresponse().status == 200
        waiting.close()


@pytest.mark.skipif(not FRONT, reason="needs the front")
def test_a_front_without_open_files_rests_and_refuses_connections_later(start, tmp_path):
    with start(tmp_path) as server, server.connect() as client:
        assert client.collections() == []
        host, port = server.target.rsplit(":", 1)
        with limited(server, resource.RLIMIT_NOFILE, 3):
            before = server.computed()
            with socket.create_connection((host, int(port)), timeout=20):
                time.sleep(1)
            assert server.computed() - before < 0.3
        with server.connect() as other:
            assert other.collections() == []
