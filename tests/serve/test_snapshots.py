"""Snapshots of a server: at the place that it was started with, and of nobody's choice."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.collection.protocol import AlreadyExists
from bebr.serve.keys import KeyFile, Role
from bebr.store.backup.doctor import examine
from tests.commands import done, refused


@pytest.fixture
def place(tmp_path):
    return tmp_path / "place"


@pytest.fixture
def server(start, tmp_path, place):
    with start(tmp_path / "data", snapshots=str(place)) as running:
        yield running


def test_a_collection_comes_back_beside_the_others(server, place, tmp_path, bz, vectors, queries):
    other = bebr.train(vectors, widths=[64, 32], metric="cosine", seed=0)
    with server.connect() as client:
        docs = client.create_collection("docs", bz, keep="float16", text="body")
        docs.upsert(range(1000), vectors[:1000], [{"body": f"word{i}"} for i in range(1000)])
        docs.settle()
        docs.upsert(["a", "b"], vectors[1000:1002], [{"body": "of the journal"}, None])
        docs.delete([7])
        want = docs.search(queries, 5)
        first = client.snapshot()
        assert first.collections["docs"] > 0 and first.new_files == first.files
        docs.migrate(other, wait=True)
        docs.truncate()
        second = client.snapshot()
        assert [info.name for info in client.snapshots()] == [first.name, second.name]
        with pytest.raises(AlreadyExists, match="collection 'docs' already exists"):
            client.restore_collection("docs")
        assert client.restore_collection("docs", "docs-back", snapshot=first.name).name == first.name
        assert client.restore_collection("docs", "empty").name == second.name
        back = client.collection("docs-back")
        assert len(back) == 1001 and len(client.collection("empty")) == 0 and len(docs) == 0
        np.testing.assert_array_equal(back.search(queries, 5).ids, want.ids)
        np.testing.assert_array_equal(back.search(queries, 5).scores, want.scores)
        assert set(back.search(None, 2, text="journal").ids[0].tolist()) == {"a", None}
        assert back.binarizer.digest == bz.digest and back.upsert([7], vectors[7:8]) == 1
        back.settle()
        for wrong in ({"snapshot": "20200101T000000.000000Z"}, {}):
            with pytest.raises(KeyError):
                client.restore_collection("none", "none-back", **wrong)
        docs.upsert([1], vectors[:1])
        assert "docs at" in done("snapshot", "list", server.target).stdout
        assert "files of" in done("snapshot", "create", server.target).stdout
        done("snapshot", "restore", server.target, "--collection", "docs", "--as", "docs-again")
        assert len(client.collection("docs-again")) == 1
        assert "wanted none beside a server" in refused("snapshot", "create", server.target, place)
        assert "--collection: wanted" in refused("snapshot", "restore", server.target)
    server.stop()
    assert examine(tmp_path / "data") == []
    done(
        "snapshot",
        "restore",
        place,
        tmp_path / "data",
        "--collection",
        "docs",
        "--as",
        "local",
        "--snapshot",
        first.name,
    )
    with bebr.open(tmp_path / "data") as db:
        assert len(db.collection("local")) == 1001 and len(db.collection("docs-back")) == 1002
        np.testing.assert_array_equal(db.collection("local").search(queries, 5).scores, want.scores)
    assert examine(tmp_path / "data") == []


def test_a_server_without_a_place_refuses(start, tmp_path):
    with start(tmp_path / "data") as running, running.connect() as client:
        for call in (client.snapshot, client.snapshots, lambda: client.restore_collection("docs")):
            with pytest.raises(KeyError, match="start it with --snapshots"):
                call()


def test_the_shell_has_a_key(start, tmp_path, monkeypatch, bz):
    token = KeyFile(tmp_path / "data").create("ops", Role.ADMIN)
    with start(tmp_path / "data", snapshots=str(tmp_path / "place")) as running:
        with bebr.connect(running.target, token=token) as client:
            client.create_collection("docs", bz)
        assert "asks for a key" in refused("snapshot", "create", running.target)
        assert "1 collection in" in done("snapshot", "--token", token, "create", running.target).stdout
        monkeypatch.setenv("BEBR_TOKEN", token)
        assert "docs at" in done("snapshot", "list", running.target).stdout
        done("snapshot", "restore", running.target, "--collection", "docs", "--as", "back")
        with bebr.connect(running.target, token=token) as client:
            assert client.collections() == ["back", "docs"]


def test_damage_in_the_place_brings_nothing_back(server, place, bz, vectors):
    with server.connect() as client:
        client.create_collection("docs", bz).upsert(range(100), vectors[:100])
        client.collection("docs").settle()
        client.snapshot()
        (segment,) = (place / "segments").iterdir()
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
        with pytest.raises(bebr.CorruptFile, match=segment.name):
            client.restore_collection("docs", "back")
        assert client.collections() == ["docs"] and client.collection("docs").upsert([1], vectors[:1]) == 1
