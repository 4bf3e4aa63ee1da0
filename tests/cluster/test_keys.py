"""Leaves that do not know, or know no more, the key that a root shows them."""

from __future__ import annotations

import logging

import pytest

import bebr
from bebr.serve.keys import KeyFile, Role
from tests.cluster.running import asked, until


def test_one_that_refuses_the_key_is_as_one_that_is_away(postgres, here, bz, vectors, queries, tmp_path, caplog):
    url, segments = postgres.schema(), f"file://{tmp_path}/segments"
    known, other = (KeyFile(tmp_path / name) for name in ("known", "other"))
    token = known.create("root", Role.ADMIN)
    other.create("another-root", Role.ADMIN)
    with (
        bebr.open(url, segments=segments, cache=tmp_path / "a", lease_seconds=1) as one,
        bebr.open(url, segments=segments, cache=tmp_path / "b", lease_seconds=1) as two,
    ):
        first, second = here.leaf(one, keys=known), here.leaf(two, keys=known)
        root = here.root([first, second], shards=2, token=token)
        leaves = here.of(root).leaves
        with bebr.connect(root, retries=0) as client:
            docs = client.create_collection("docs", bz)
            assert docs.upsert(range(200), vectors[:200]) == 200
            until(lambda: all(len(leaf.shards) == 2 for leaf in leaves.all))
            hits = docs.search(queries, 5, exact=True)
            with asked(docs, queries, (hits.ids.tolist(), hits.scores)) as answered, caplog.at_level(logging.WARNING):
                here.stop(second)
                assert here.leaf(two, port=int(second.rpartition(":")[2]), keys=other) == second
                until(lambda: "this is no key of this server" in caplog.text)
                before = len(answered)
                until(lambda: len(answered) > before + 4)
            assert "Traceback" not in caplog.text
            client.create_collection("more", bz).upsert([1], vectors[:1])
            assert client.collection("more").get([1])[0].id == 1 and client.register_model(bz) == bz.digest
            with pytest.raises(KeyError, match="no collection 'nothing'"):
                client.collection("nothing")
            known.revoke("root")
            refused = (
                r"leaf 127.*: this is no key of this server.*\(a root shows its leaves a key of role admin: --token\)"
            )
            for call in (docs.count, lambda: docs.search(queries, 5), lambda: docs.upsert([1], vectors[:1])):
                with pytest.raises(ConnectionError, match=refused):
                    call()
        for one in (root, first, second):
            here.stop(one)


def test_a_root_whose_key_no_leaf_knows_says_so(here, bz, tmp_path):
    keys = KeyFile(tmp_path / "keys")
    keys.create("somebody", Role.ADMIN)
    with bebr.open(tmp_path / "data") as folder:
        leaf = here.leaf(folder, keys=keys)
        root = here.root([leaf], shards=2)
        with bebr.connect(root, retries=0) as client:
            for call in (
                client.collections,
                lambda: client.collection("docs"),
                lambda: client.create_collection("d", bz),
            ):
                with pytest.raises(ConnectionError, match=r"this server asks for a key.*role admin: --token"):
                    call()
        here.stop(root)
        here.stop(leaf)
