"""The light client over real servers: it gets what a server's own client gets, and says so where it does not."""

from __future__ import annotations

import socket
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmarks import light_client
from benchmarks.databases import Absent, pgvector, redis, served
from benchmarks.wires import resp
from benchmarks.wires.base import Plain
from tests.conftest import clustered


@pytest.mark.parametrize("make", [served.kept, redis.make, pgvector.make], ids=["bebr", "redis", "pgvector"])
def test_the_light_client_gets_what_the_servers_own_client_gets(make):
    with tempfile.TemporaryDirectory() as place:  # PostgreSQL may run as another user
        Path(place).chmod(0o755)
        folder = Path(place) / "db"
        folder.mkdir()
        try:
            database, _ = make(folder, 16, ())
        except Absent as absent:
            pytest.skip(str(absent))
        with closing(database):
            check(database)


def check(database) -> None:
    x, queries = clustered(300, 16), clustered(20, 16, seed=9)
    database.add(np.arange(300), x, {})
    database.finish()
    setting = database.settings[0]
    found = light_client.loaded(database, queries, 3, 0.2, setting)
    assert found.per_second > 0 and found.p50 <= found.p99 and found.client_us > 0 and found.server_us >= 0
    with pytest.raises(RuntimeError, match=r"query 2: the light client got \[0, 1\]"):
        light_client.compare(database, queries, {2: [0, 1]}, setting)


def test_an_error_in_a_reply_ends_the_run():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"-ERR no such key\r\n")
        with pytest.raises(RuntimeError, match="no such key"):
            light_client.ask([Plain(ours, resp.whole)], [b"asked"], 0.1, lambda: 0.0)


def test_a_server_that_leaves_ends_the_run():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"*1\r\n")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(RuntimeError, match="closed the connection"):
            light_client.ask([Plain(ours, resp.whole)], [b"asked"], 0.1, lambda: 0.0)
