"""The data folder: one process at a time, damage contained, leftovers removed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import bebr
from bebr.collection.protocol import AlreadyExists, DatabaseLocked
from bebr.index.files import contents_digest
from bebr.store.catalog.records import SegmentRow
from bebr.store.database import Database
from tests.conftest import model_of, payloads_of


@pytest.fixture
def two_collections(tmp_path, bz, vectors):
    """A closed database with the sealed collections "good" and "bad"; its path, and the segment file of "bad"."""
    with bebr.open(tmp_path) as db:
        for name in ("good", "bad"):
            before = set((tmp_path / "segments").iterdir())
            collection = db.create_collection(name, bz)
            collection.upsert(range(1000), vectors[:1000])
            collection.settle()
    (file,) = set((tmp_path / "segments").iterdir()) - before
    return tmp_path, file


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty", "foreign", "other"])
def test_a_corrupt_segment_stops_its_collection_only(two_collections, bz, damage, queries):
    path, file = two_collections
    data = bytearray(file.read_bytes())
    match damage:
        case "flip":
            data[len(data) // 2] ^= 1
            file.write_bytes(data)
        case "truncate":
            file.write_bytes(data[:-1])
        case "delete":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "foreign":
            file.write_bytes(bytes(len(data)))
        case "other":  # a good file of the same model, but not the one that was written
            index = bebr.open_index(file, model=bz)
            index.remove(range(10))
            index.save(file)
    with bebr.open(path) as db:
        assert db.collections() == ["bad", "good"]
        for _ in range(2):
            with pytest.raises(bebr.CorruptFile, match=file.name):
                db.collection("bad")
        assert db.collection("good").search(queries[:1], 10).ids.shape == (1, 10)
        db.drop_collection("bad")
        assert db.collections() == ["good"]
    assert not file.exists()


def test_a_segment_of_another_model_is_refused(two_collections, vectors):
    path, file = two_collections
    other = bebr.FlatIndex(model_of(vectors, widths=[48, 16], metric="ip"))
    other.add(vectors[:1000])
    with bebr.open(path) as db:
        new = path / "segments" / "2-other.bebr"
        other.save(new)
        row = SegmentRow(new.name, 1000, new.stat().st_size, contents_digest(new))
        db._catalog.install(2, [row], [file.name], {}, through_version=1)
    with bebr.open(path) as db, pytest.raises(bebr.IncompatibleModel, match="2-other"):
        db.collection("bad")


def test_a_foreign_or_newer_catalog_is_refused(tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"this is no database, but long enough to be looked at" * 100)
    with pytest.raises(bebr.CorruptFile, match=r"catalog\.db"):
        bebr.open(tmp_path)
    (tmp_path / "catalog.db").unlink()
    bebr.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "catalog.db") as catalog:
        catalog.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    catalog.close()
    with pytest.raises(bebr.CorruptFile, match="schema 99"):
        bebr.open(tmp_path)


def test_the_folder_belongs_to_one_opener_at_a_time(tmp_path):
    with bebr.open(tmp_path):
        with pytest.raises(DatabaseLocked, match=f"is open in process {os.getpid()}, which is this one: close it"):
            bebr.open(tmp_path)
        script = f"import bebr; bebr.open({str(tmp_path)!r})"
        child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert child.returncode == 1 and f"is open in process {os.getpid()}: close it there" in child.stderr
    bebr.open(tmp_path).close()


def test_names_and_models(tmp_path, bz):
    with bebr.open(tmp_path) as db:
        for name in ("", "a b", "a/b", "ä", "x" * 129, "a\n", None):
            with pytest.raises(ValueError, match="name is"):
                db.create_collection(name, bz)
        db.create_collection("x" * 128, bz)
        db.create_collection("A-Z_0.9", bz)
        with pytest.raises(AlreadyExists):
            db.create_collection("A-Z_0.9", bz)
        with pytest.raises(KeyError, match="nothing"):
            db.collection("nothing")
        with pytest.raises(KeyError, match="nothing"):
            db.drop_collection("nothing")
        with pytest.raises(KeyError, match="abc"):
            db.model("abc")
        assert [model.digest for model in db.models()] == [bz.digest]
        assert db.model(bz.digest).to_bytes() == bz.to_bytes()


def test_a_closed_database_and_a_dropped_collection_say_so(tmp_path, bz, vectors, queries):
    db = bebr.open(tmp_path)
    collection = db.create_collection("docs", bz)
    collection.upsert([1], vectors[:1], [{"a": 1}])
    db.drop_collection("docs")
    with pytest.raises(KeyError, match="dropped"):
        collection.search(queries[:1])
    again = db.create_collection("docs", bz)
    assert len(again) == 0  # nothing of the old one shows
    again.upsert([1], vectors[:1])
    assert payloads_of(again, [1]) == [None]
    db.close()
    db.close()
    for call in (
        *(lambda: again.search(queries[:1]), lambda: again.upsert([1], vectors[:1]), db.collections, db.models),
        *(again.truncate, again.flush, again.stats, again.cutover, again.rollback),
    ):
        with pytest.raises(ValueError, match=f"the database {tmp_path} is closed"):
            call()


@pytest.mark.parametrize("path", ["http://localhost:7777", "postgres://ann:secret@db/search", "file:///data", ""])
def test_what_is_no_folder_is_not_made_one(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"path is .*: want a folder") as error:
        bebr.open(path)
    assert "secret" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_seal_rows_is_checked(tmp_path):
    with pytest.raises(ValueError, match="seal_rows is 0"):
        Database(tmp_path, seal_rows=0)
    assert not np.any(list(tmp_path.iterdir()))
