"""Leaves say in their database where they are, and a root finds them there."""

from __future__ import annotations

from contextlib import closing

import pytest

import bebr
from bebr.cluster.announcing import Announcing
from bebr.store.catalog.leaf_table import LeafTable
from bebr.store.database import Database
from tests.cluster.running import until


def test_a_root_finds_the_leaves_that_there_are(postgres, here, bz, vectors, tmp_path):
    url, segments = postgres.schema(), f"file://{tmp_path}/segments"
    with (
        closing(LeafTable(url)) as table,
        pytest.raises(FileNotFoundError, match="there is no database in this schema"),
    ):
        table.addresses()
    with (
        Database(url, segments=segments, cache=tmp_path / "a", lease_seconds=600) as db,
        closing(LeafTable(url)) as table,
    ):
        root = here.root(table.addresses, shards=2)
        leaves = here.of(root).leaves
        early = pytest.raises(ConnectionError, match="the database has no leaves: start one")
        with bebr.connect(root, retries=0) as client, early:
            client.collections()
        first = here.leaf(db)
        one = Announcing(url, first)
        until(lambda: [leaf.alive for leaf in leaves.all] == [True])
        with bebr.connect(root) as client, Database(url, segments=segments, cache=tmp_path / "b") as other:
            docs = client.create_collection("docs", bz)
            assert docs.upsert(range(100), vectors[:100]) == 100
            second = here.leaf(other)
            two = Announcing(url, second)
            until(lambda: {leaf.name for leaf in leaves.all} == {first, second})
            here.stop(first)
            one.close()
            until(lambda: [leaf.name for leaf in leaves.all] == [second])
            other._home._follower.look()
            assert len(docs) == 100 and docs.search(vectors[:1], 1).ids.tolist() == [[0]]
            postgres.execute("UPDATE leaves SET seen = seen - interval '1 minute'", url)  # as if it had been killed
            assert table.addresses() == []
            here.look(root)
            assert len(docs) == 100  # it answers all the same
            here.stop(root)
            two.close()
            here.stop(second)
