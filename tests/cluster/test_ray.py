"""A cluster on three nodes of Ray that are processes here: `pytest -m cluster`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time

import pytest

import bebr
from tests.cluster.running import asked, until
from tests.commands import done, refused

pytestmark = pytest.mark.cluster

PAUSE = 0.03  # seconds between searches: some thirty a second


def status() -> dict:
    return json.loads(done("cluster", "status", "--json").stdout)


def pids() -> dict[str, int]:
    """Of the members that take calls."""
    return {one["member"]: one["pid"] for one in status()["members"] if one.get("address")}


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.fixture(scope="module")
def cluster(postgres, tmp_path_factory):
    """Three nodes, three shards, two replicas; the address of the root."""
    pytest.importorskip("ray", reason="needs ray: pip install 'bebr[ray]'")
    folder = tmp_path_factory.mktemp("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        options = ("--segments", f"file://{folder}/segments", "--replicas", 2, "--port", port, "--lease-seconds", 2)
        try:
            done("cluster", "up", postgres.schema(), *options, "--local", 3, "--wait", 300)
            yield next(one["address"] for one in status()["members"] if one["member"] == "root-0")
        finally:
            last = pids()
            done("cluster", "down")
            until(lambda: not any(map(alive, last.values())))


@pytest.fixture(scope="module")
def docs(cluster, bz, vectors):
    """A collection that all replicas have."""
    with bebr.connect(cluster, retries=0) as db:
        made = db.create_collection("docs", bz)
        assert made.upsert(range(600), vectors[:600]) == 600
        until(lambda: all(len(leaves) == 2 and min(leaves.values()) for leaves in status()["shards"].values()))
        yield made


@pytest.fixture(scope="module")
def wanted(docs, queries):
    """What every search is to find."""
    hits = docs.search(queries, 5, exact=True)
    return hits.ids.tolist(), hits.scores


def test_what_dies_is_replaced_while_queries_are_answered(docs, queries, vectors, wanted):
    with asked(docs, queries, wanted, PAUSE):
        first, begun = pids(), time.monotonic()
        os.kill(first["leaf-1-0"], signal.SIGKILL)
        until(lambda: pids().get("leaf-1-0", first["leaf-1-0"]) != first["leaf-1-0"])
        print(f"killed, and replaced after {time.monotonic() - begun:.1f} s")
        until(lambda: len({leaf for leaves in status()["shards"].values() for leaf in leaves}) == 6)
    assert docs.upsert(range(600, 660), vectors[600:660]) == 60 and docs.count() == 660
    assert docs.delete(range(600, 660)) == 60


def test_an_upgrade_starts_every_process_anew_and_no_query_fails(docs, queries, wanted):
    before = pids()
    with asked(docs, queries, wanted, PAUSE):
        done("cluster", "upgrade", "--wait", 300)
    after = pids()
    assert before.keys() == after.keys() and not set(before.values()) & set(after.values())


def test_a_node_is_drained_comes_back_and_no_query_fails(docs, queries, wanted):
    members = status()["members"]
    root = next(one["node"] for one in members if one["member"] == "root-0")
    node = next(one["node"] for one in members if one["node"] != root)
    with asked(docs, queries, wanted, PAUSE):
        done("cluster", "drain", node[:12], "--wait", 300)
        members = status()["members"]
        assert len(members) == 7 and all(one["node"] != node and one["address"] for one in members)
        done("cluster", "drain", node, "--undo", "--wait", 300)
        assert any(one["node"] == node for one in status()["members"])
    assert "which 0 nodes have" in refused("cluster", "drain", "10.1.1.1")


def test_it_is_made_larger_and_smaller(cluster):
    done("cluster", "scale", "--replicas", 3, "--wait", 300)
    assert len(pids()) == 10
    done("cluster", "scale", "--replicas", 2, "--local", 2, "--wait", 300)
    members = status()["members"]
    assert len(members) == 7 and len({one["node"] for one in members}) == 2
