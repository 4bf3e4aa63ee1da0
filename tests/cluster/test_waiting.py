"""A root that begins before its leaves, or its database, are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bebr


def test_a_root_waits_and_says_what_for(here, bz, vectors, tmp_path, caplog):
    there = []

    def found() -> list[str]:
        if not there:
            raise ConnectionError("PostgreSQL cannot be reached")
        return there

    root = here.root(found, shards=2)
    assert "no call can be answered: PostgreSQL cannot be reached" in caplog.text
    with bebr.connect(root, retries=0) as client, bebr.open(tmp_path) as folder:
        for call in (
            client.collections,
            client.aliases,
            lambda: client.collection("docs"),
            lambda: client.create_collection("docs", bz),
            lambda: client.register_model(bz),
            lambda: client.drop_collection("docs"),
        ):
            with pytest.raises(ConnectionError, match="PostgreSQL cannot be reached"):
                call()
        there.append(here.leaf(folder))
        here.look(root)
        docs = client.create_collection("docs", bz)
        docs.upsert(range(50), vectors[:50])
        assert docs.search(vectors[:1], 1).ids.tolist() == [[0]]
        here.stop(root)
        here.stop(there[0])


def test_a_root_that_begins_while_a_first_shard_is_away_says_so(here, bz, vectors, queries, tmp_path):
    with bebr.open(tmp_path / "even") as even, bebr.open(tmp_path / "odd") as odd:
        leaves = [here.leaf(even, "0"), here.leaf(odd, "1")]
        before = here.root(leaves, shards=2)
        with bebr.connect(before) as client:
            client.create_collection("docs", bz).upsert(range(300), vectors[:300])
        here.stop(before)
        here.stop(leaves[0])
        root = here.root(leaves, shards=2)
        with bebr.connect(root, retries=0) as client:
            assert client.collections() == ["docs"]
            docs = client.collection("docs")
            assert docs.search(queries, 5, allow_partial=True).missing == (0,)
            for call, words in (
                (lambda: docs.search(queries, 5), r"no leaf has shard docs\.0of2: start one that takes it"),
                (lambda: client.collection("other"), f"is not known: not all of the leaves answer: {leaves[0]}"),
                (lambda: client.drop_collection("docs"), "first shard of 'docs' is away, nothing was dropped"),
            ):
                with pytest.raises(ConnectionError, match=words):
                    call()
            assert odd.collections() == ["docs.1of2"]
        here.stop(root)
        here.stop(leaves[1])


def test_the_program_begins_without_its_database(tmp_path):
    command = [sys.executable, "-m", "bebr", "root", f"postgresql://x@/x?host={tmp_path}", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout.readline().startswith("listening on ")
        finally:
            program.terminate()
            said = program.communicate(timeout=60)[1]
    assert program.returncode == 0 and "no call can be answered: postgresql" in said
