"""Leaves whose settled files are searched on a device (emulated): answers are those of exact search."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

import bebr
from bebr import device
from bebr.cluster.commands import Commands
from bebr.cluster.placing import Member
from bebr.cluster.watching import Watched
from bebr.store.catalog.leaf_table import LeafTable
from bebr.store.database import Database
from tests.cluster.running import until
from tests.commands import run

EMULATED = device.found("emulated")
emulated = pytest.mark.skipif(isinstance(EMULATED, str), reason=f"emulated kernels: {EMULATED}")
ROWS, QUERIES = 400, 3


def same(found: bebr.Hits, wanted: bebr.Hits) -> None:
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores.view(np.uint32), wanted.scores.view(np.uint32))


@emulated
def test_each_leaf_has_a_device_of_its_own(here, bz, vectors, queries, tmp_path):
    with (
        Database(tmp_path / "even", device="emulated:0") as even,
        Database(tmp_path / "odd", device="emulated:1") as odd,
        Database(tmp_path / "one") as local,
    ):
        root = here.root([here.leaf(even, "0"), here.leaf(odd, "1")], shards=2)
        one = local.create_collection("docs", bz)
        one.upsert(range(ROWS), vectors[:ROWS])
        with bebr.connect(root) as client:
            docs = client.create_collection("docs", bz)
            docs.upsert(range(ROWS), vectors[:ROWS])
            shards = [db.collection(f"docs.{i}of2") for i, db in enumerate((even, odd))]
            for shard in shards:
                shard.settle()
            settled = {f"emulated:{i}": len(shard) for i, shard in enumerate(shards)}
            assert docs.stats().rows_by_device == settled and sum(settled.values()) == ROWS
            wanted = one.search(queries[:QUERIES], 7, exact=True)
            same(docs.search(queries[:QUERIES], 7), wanted)
            docs.upsert(range(ROWS, ROWS + 50), vectors[ROWS : ROWS + 50])  # in no file yet
            one.upsert(range(ROWS, ROWS + 50), vectors[ROWS : ROWS + 50])
            assert docs.stats().rows_by_device == {**settled, "cpu": 50}
            same(docs.search(queries[:QUERIES], 7), one.search(queries[:QUERIES], 7, exact=True))
        here.stop(root)


@emulated
def test_a_leaf_that_follows_searches_what_another_process_settles(
    postgres, here, bz, vectors, queries, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url, segments = postgres.schema(), f"file://{tmp_path}/segments"
    commands = Commands(url, segments, shards=1, device="emulated", device_memory_mb=64)
    with Database(url, segments=segments, cache=tmp_path / "writer") as db, closing(LeafTable(url)) as table:
        docs = db.create_collection("docs", bz)
        leaf = Watched(commands.of(Member("leaf", 0), "127.0.0.1"))
        try:
            until(lambda: leaf.state().address)
            root = here.root(table.addresses, shards=1)
            with bebr.connect(root) as client:
                there = client.collection("docs")
                docs.upsert(range(ROWS), vectors[:ROWS])
                docs.settle()
                until(lambda: there.stats().rows_by_device == {"emulated": ROWS})
                same(there.search(queries[:QUERIES], 7), docs.search(queries[:QUERIES], 7, exact=True))
            here.stop(root)
        finally:
            leaf.stop()


def test_without_the_device_a_leaf_says_why_and_serves_nothing():
    command = ("leaf", "postgresql://nowhere", "--segments", "file:///x", "--device")
    assert "device is 'gpu': want 'cpu', 'cuda' or 'cuda:N'" in run(*command, "gpu").stderr
    assert "device_memory is 9437184 on 'cpu': want None" in run(*command, "cpu", "--device-memory-mb", 9).stderr
    if isinstance(why := device.found(), str):
        refused = run(*command, "cuda:1")
        assert refused.exit_code != 0 and f"device='cuda:1': {why}" in refused.stderr and refused.stdout == ""
