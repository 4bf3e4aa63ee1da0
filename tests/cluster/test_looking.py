"""Roots look at their leaves past gRPC: while nothing changes no Python is asked, and what changes is seen."""

from __future__ import annotations

import time

import pytest

import bebr
from tests.cluster.running import Loop, until

pytest.importorskip("bebr._front", reason="built without libnghttp2")


@pytest.fixture
def cluster(here: Loop, tmp_path, bz, vectors):
    """A root, its leaf, a collection of one shard there, and a database that is the leaf's."""
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", bz).upsert(range(50), vectors[:50])
        leaf = here.leaf(db)
        root = here.root([leaf], shards=1)
        yield root, leaf, db
        here.stop(root)
        here.stop(leaf)


def counts(here: Loop, leaf: str) -> dict[str, int]:
    """Of calls, at the leaf."""
    made: dict[str, int] = here.of(leaf)._front._front.counts()
    return made


def settled(here: Loop, root: str, leaf: str) -> None:
    """Until a look past gRPC has come to what was said last."""
    (known,) = here.of(root).leaves.all
    before = counts(here, leaf)["listed"]
    until(lambda: known.watched is not None and counts(here, leaf)["listed"] > before + 1)


def test_while_nothing_changes_nobody_asks_python(here, cluster, vectors):
    root, leaf, _ = cluster
    with bebr.connect(root) as client:
        docs = client.collection("docs")
        docs.search(vectors[:1])
        settled(here, root, leaf)
        docs.search(vectors[:1])
        before, end = counts(here, leaf), time.monotonic() + 3
        while time.monotonic() < end:
            assert docs.search(vectors[:1], k=3).ids[0, 0] == 0
            time.sleep(0.05)
        after = counts(here, leaf)
    assert after["forwarded"] == before["forwarded"]
    assert after["listed"] >= before["listed"] + 3
    assert time.monotonic() - here.of(root).leaves.all[0].looked < 2


def test_what_another_changes_is_seen(here, cluster, bz, vectors):
    root, leaf, db = cluster
    (known,) = here.of(root).leaves.all
    with bebr.connect(root) as client:
        docs = client.collection("docs")
        docs.search(vectors[:1])
        settled(here, root, leaf)
        versions = dict(known.versions)
        with bebr.connect(leaf) as other:
            other.collection("docs").upsert([7000], vectors[:1])
        assert 7000 in docs.search(vectors[:1], k=3).ids
        until(lambda: known.versions != versions)
        db.set_alias("today", "docs")
        until(lambda: known.aliases == {"today": "docs"})
        db.create_collection("more", bz)
        until(lambda: "more" in client)
        db.drop_collection("docs")
        until(lambda: "docs" not in client)
        with pytest.raises(KeyError):
            client.collection("docs")


def test_one_that_fails_a_call_and_goes_on_answering_is_back_at_the_next_look(here, cluster, monkeypatch, caplog):
    """As a leaf does while its PostgreSQL is away: writes fail there, and looks do not."""
    root, leaf, _ = cluster
    (known,) = here.of(root).leaves.all
    with bebr.connect(root, retries=0) as client:
        docs = client.collection("docs")
        settled(here, root, leaf)

        async def call(method, request, timeout=None, told=known.call):
            if method == "Points/Delete":
                raise ConnectionError("PostgreSQL is away")
            return await told(method, request, timeout)

        monkeypatch.setattr(known, "call", call)
        begun = time.monotonic()
        with pytest.raises(ConnectionError, match="PostgreSQL is away"):
            docs.delete([1])
        until(lambda: known.alive and known.watched is not None)
        assert time.monotonic() - begun < 10
        assert "no call can be answered" not in caplog.text


def test_one_that_goes_away_is_missed_and_one_that_comes_back_is_heard(here, tmp_path, bz, vectors):
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", bz).upsert(range(50), vectors[:50])
        leaf = here.leaf(db)
        root = here.root([leaf], shards=1)
        (known,) = here.of(root).leaves.all
        settled(here, root, leaf)
        begun = time.monotonic()
        here.stop(leaf)
        until(lambda: not known.alive)
        assert time.monotonic() - begun < 10 and known.watched is None
        here.leaf(db, port=int(leaf.rpartition(":")[2]))
        until(lambda: known.alive and known.watched is not None)
        with bebr.connect(root) as client:
            assert client.collection("docs").search(vectors[:1], k=1).ids == [[0]]
        here.stop(root)
        here.stop(leaf)
