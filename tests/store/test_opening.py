"""What opening a folder may do to it: nothing is deleted that is not provably ours and dead."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys

import numpy as np
import pytest

import bebr
from bebr.store.files.folder import Folder
from tests.conftest import model_of


@pytest.fixture
def folder(tmp_path, bz, vectors):
    """A closed database: "docs" with a segment and a journal, "other" with a segment."""
    path = tmp_path / "data"
    with bebr.open(path) as db:
        for name in ("docs", "other"):
            collection = db.create_collection(name, bz)
            collection.upsert(range(100), vectors[:100])
            collection.settle()
        db.collection("docs").upsert([100], vectors[100:101])
    return path


def contents(path):
    return {
        file.relative_to(path): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name not in ("lock", "reserve")
    }


@pytest.mark.parametrize("damage", ["missing", "empty", "fresh", "schema 1"])
def test_a_catalog_that_is_not_of_this_folder_is_refused_and_nothing_is_touched(folder, tmp_path, damage):
    catalog = folder / "catalog.db"
    catalog.unlink()
    if damage == "empty":
        catalog.touch()
    if damage == "fresh":
        bebr.open(tmp_path / "fresh").close()
        with sqlite3.connect(catalog) as db:
            db.execute("CREATE TABLE notes (text)")
            db.execute("DROP TABLE notes")
        db.close()
    if damage == "schema 1":
        with sqlite3.connect(catalog) as db:
            db.execute("CREATE TABLE meta (key, value)")
            db.execute("INSERT INTO meta VALUES ('schema', '1')")
        db.close()
    before = contents(folder)
    with pytest.raises(bebr.CorruptFile, match=r"catalog\.db .*Nothing was changed"):
        bebr.open(folder)
    after = contents(folder)
    assert before == {name: data for name, data in after.items() if name in before}
    assert not [name for name in after if name not in before and after[name]]


def test_an_older_catalog_costs_the_collections_that_changed_since_and_no_file(folder, bz, vectors, queries):
    shutil.copy(folder / "catalog.db", folder.parent / "older.db")
    with bebr.open(folder) as db:
        docs = db.collection("docs")
        docs.upsert(range(200, 300), vectors[200:300])
        docs.settle()
        db.create_collection("new", bz).upsert([1], vectors[:1])
        db.drop_collection("other")
        db.create_collection("third", bz)
    shutil.copy(folder.parent / "older.db", folder / "catalog.db")
    before = contents(folder)
    with bebr.open(folder) as db:
        assert db.collections() == ["docs", "new", "other", "third"]
        for name, lost in [("docs", "the last 2 of 5 "), ("new", "the last 1 of 1 "), ("other", "its drop")]:
            with pytest.raises(bebr.CorruptFile, match=rf"catalog\.db lacks {lost}.*'{name}'.*catalog\.versions"):
                db.collection(name)
    after = contents(folder)
    assert {n for n in before if n.parts[0] != "catalog.db"} <= set(after)


def test_unknown_segments_are_set_aside_and_unfinished_files_deleted(folder):
    segments, models = folder / "segments", folder / "models"
    (listed,) = (file for file in segments.iterdir() if file.name.startswith("1-"))
    unknown = segments / f"1-{'0' * 32}.bebr"
    shutil.copy(listed, unknown)
    model = next(models.iterdir())
    unfinished = [
        segments / f"1-{'1' * 32}.bebr.tmp123",
        models / f"{model.name}.tmp0f.safetensors",
        folder / "catalog.versions.tmp12.versions",
    ]
    mine = [segments / "notes.txt", segments / "1-00.bebr", segments / "x.bebr.tmp123", models / "my.safetensors"]
    for file in (*unfinished, *mine):
        file.write_text("x")
    bebr.open(folder).close()
    assert listed.exists() and not any(file.exists() for file in unfinished) and all(file.exists() for file in mine)
    assert not unknown.exists() and (folder / "quarantine" / f"{unknown.name}.0").read_bytes() == listed.read_bytes()


def test_files_that_were_removed_are_deleted_though_a_crash_came_between(folder):
    kept = {file.name: file.read_bytes() for file in (folder / "segments").iterdir() if file.name.startswith("2-")}
    with bebr.open(folder) as db:
        db.drop_collection("other")
    for name, data in kept.items():
        (folder / "segments" / name).write_bytes(data)  # as if the process had died before it deleted them
    with bebr.open(folder) as db:
        assert db.collections() == ["docs"]
    assert not [name for name in kept if (folder / "segments" / name).exists()]
    assert not (folder / "quarantine").exists()


def test_the_number_of_a_dropped_collection_never_comes_back(folder, bz):
    numbers = set()
    for _ in range(3):
        with bebr.open(folder) as db:
            for name in ("a", "b"):
                db.create_collection(name, bz)
                numbers.add(db._catalog.collection(name).id)
            db.drop_collection("b")
            db.drop_collection("a")
    assert numbers == set(range(3, 9))
    with bebr.open(folder) as db:
        assert db.collections() == ["docs", "other"]
    assert (folder / "catalog.versions").stat().st_size == 2 * 256


def test_a_model_is_one_file_and_a_lost_one_costs_its_collections(folder, bz, vectors, queries):
    with bebr.open(folder) as db:
        other = model_of(vectors, widths=[32])
        db.create_collection("third", other).upsert(range(20), vectors[:20])
    files = {file.name for file in (folder / "models").iterdir()}
    assert files == {f"{bz.digest}.safetensors", f"{other.digest}.safetensors"}
    path = folder / "models" / f"{other.digest}.safetensors"
    data, digest = path.read_bytes(), other.digest
    for damaged in (data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:], bz.to_bytes(), None):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        else:
            assert not path.exists()
        with bebr.open(folder) as db:
            for call in (lambda: db.collection("third"), lambda: db.model(digest)):
                with pytest.raises(bebr.CorruptFile, match=rf"{digest}\.safetensors"):
                    call()
            assert [model.digest for model in db.models()] == [bz.digest]
            assert len(db.collection("docs")) == 101
        path.touch()
    with bebr.open(folder) as db:
        db.register_model(bebr.Binarizer.from_bytes(data))  # heals it
        assert len(db.collection("third")) == 20


def test_a_model_that_the_catalog_does_not_list_is_known_by_its_digest(folder, bz, vectors):
    other = model_of(vectors, widths=[32])
    (folder / "models" / f"{other.digest}.safetensors").write_bytes(other.to_bytes())
    (folder / "models" / "0123456789abcdef.safetensors").write_bytes(other.to_bytes())
    with bebr.open(folder) as db:
        assert {model.digest for model in db.models()} == {bz.digest, other.digest}
        with pytest.raises(bebr.CorruptFile, match="digest expected 0123456789abcdef"):
            db.model("0123456789abcdef")
        for digest in ("../models/x", "", "0" * 16):
            with pytest.raises(KeyError):
                db.model(digest)


def test_a_collection_is_read_outside_the_lock_of_the_others(folder, monkeypatch):
    import threading

    from bebr.store import database as module

    reading, others = threading.Event(), threading.Event()
    original = module.Collection

    def slow(*args, **kwargs):
        reading.set()
        assert others.wait(30)
        return original(*args, **kwargs)

    with bebr.open(folder) as db:
        other = db.collection("other")
        monkeypatch.setattr(module, "Collection", slow)
        found = []
        threads = [threading.Thread(target=lambda: found.append(db.collection("docs"))) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert reading.wait(30)
        assert db.collection("other") is other and db.collections() == ["docs", "other"]
        others.set()
        for thread in threads:
            thread.join()
        assert found[0] is found[1]


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_the_reserve_is_given_up_for_what_frees_space(tmp_path, monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    if system != "linux":
        monkeypatch.delattr(os, "posix_fallocate")
    reserve = Folder(tmp_path).reserve
    assert not reserve.release()
    reserve.fill()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 1 << 20
    assert reserve.release() and not reserve.release()
    assert (tmp_path / "reserve").stat().st_size == 0
    reserve.fill()
    assert np.equal((tmp_path / "reserve").stat().st_size, 1 << 20)
