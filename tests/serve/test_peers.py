"""Calls without a right key are logged: who and what, never the key, and not too often."""

from __future__ import annotations

import logging
import re

import grpc
import pytest

import bebr
from bebr.serve.keys import KeyFile, Role
from bebr.serve.peers import TurnedAway


@pytest.fixture
def log(caplog):
    """What has been logged, as tuples (peer, method, more)."""
    caplog.set_level(logging.WARNING, "bebr.serve")
    return lambda: [tuple(record.fields.values()) for record in caplog.records]


def test_a_host_is_logged_once_in_ten_seconds_with_how_many_calls_there_were(log):
    now = 100.0
    away = TurnedAway(lambda: now)
    for port in range(50):
        away.note(f"ipv4:10.0.0.7:{port}", "/bebr.v1.Points/Search")
    away.note("ipv6:[::1]:9", "/bebr.v1.Admin/Info")
    assert log() == [
        ("ipv4:10.0.0.7:0", "/bebr.v1.Points/Search", 0),
        ("ipv6:[::1]:9", "/bebr.v1.Admin/Info", 0),
    ]
    now += 10
    away.note("ipv4:10.0.0.7:99", "/bebr.v1.Points/Search")
    assert log()[2:] == [("ipv4:10.0.0.7:99", "/bebr.v1.Points/Search", 49)]


def test_many_hosts_at_once_fill_neither_the_log_nor_the_memory(log):
    now = 100.0
    away = TurnedAway(lambda: now)
    for host in range(5000):
        away.note(f"ipv4:10.0.{host >> 8}.{host & 255}:1", "/m")
    assert len(log()) == 1001 and len(away._said) == 1001
    now += 100
    away.note("ipv4:192.0.2.1:1", "/m")
    assert log()[-1] == ("ipv4:192.0.2.1:1", "/m", 0) and len(away._said) == 1001


@pytest.mark.parametrize("front", [True, False])
def test_the_server_says_who_was_turned_away(start, tmp_path, front):
    KeyFile(tmp_path).create("app", Role.ADMIN)
    if front:
        pytest.importorskip("bebr._front")
    with start(tmp_path, front=front) as server:
        with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError):
            lies = (("x-bebr-peer", "ipv4:192.0.2.1:1"), ("authorization", "Bearer bebr_wrong"))
            channel.unary_unary("/bebr.v1.Admin/Info")(b"", metadata=lies, timeout=20)
        for _ in range(5):
            with pytest.raises(PermissionError):
                bebr.connect(server.target, token="bebr_wrong")
        said = server.stop()
    (line,) = (line for line in said.splitlines() if "no right key" in line)
    assert re.search(r'no right key peer="ipv4:127.0.0.1:\d+" method="/bebr.v1.Admin/Info" more=0$', line)
    assert "bebr_wrong" not in said
