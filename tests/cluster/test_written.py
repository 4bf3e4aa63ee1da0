"""What was written by way of a root is read by way of it, though a replica has not heard of it."""

from __future__ import annotations

import pytest

import bebr
from bebr.cluster import latencies
from tests.cluster.running import until


@pytest.fixture
def never(monkeypatch):
    """Every read is one that takes long."""
    for name in ("FIRST", "LEAST", "MOST"):
        monkeypatch.setattr(latencies, name, 1e-9)


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("front", [True, False])
def test_a_replica_that_is_behind_does_not_answer_in_the_place_of_who_wrote(
    postgres, here, bz, vectors, tmp_path, front
):
    url, segments = postgres.schema(), f"file://{tmp_path}/segments"
    with (
        bebr.open(url, segments=segments, cache=tmp_path / "a") as one,
        bebr.open(url, segments=segments, cache=tmp_path / "b") as two,
    ):
        leaves = [here.leaf(one), here.leaf(two)]
        root = here.root(leaves, shards=2, front=front)
        known = here.of(root).leaves.all
        with bebr.connect(root) as client:
            docs = client.create_collection("docs", bz)
            docs.upsert(range(50), vectors[:50])
            until(lambda: all(len(leaf.shards) == 2 for leaf in known))
            for _ in range(5):
                docs.search(vectors[:1], 1)
            for id in range(1000, 1040):  # each follower hears of it within a quarter of a second, and not before
                docs.upsert([id], vectors[id : id + 1])
                assert docs.search(vectors[id : id + 1], 1, exact=True).ids == [[id]]
                assert docs.get([id])[0] is not None and docs.count() == id - 949
        for address in (root, *leaves):
            here.stop(address)
