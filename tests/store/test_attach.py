"""Index files of other origin become segments: checked, whole, and in the place of rows of the same ids."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import bebr
from bebr.store.backup.doctor import examine
from bebr.store.database import Database
from tests.conftest import recall


@pytest.fixture(scope="module")
def model(vectors) -> bebr.Binarizer:
    return bebr.untrained(64, 18)


def built(path, kind: str, bz: bebr.Binarizer, x: np.ndarray, ids, rescore=None) -> None:
    if kind == "bulk":
        bebr.build(x, path, binarizer=bz, ids=ids, rescore=rescore, memory="64MiB")
        return
    made = {"flat": bebr.FlatIndex, "ivf": lambda bz, **how: bebr.IVFIndex(bz, 32, **how), "graph": bebr.GraphIndex}
    index = made[kind](bz, rescore=rescore)
    index.add(x, ids)
    index.save(path)


def fresh(bz, x, ids, keep):
    index = bebr.FlatIndex(bz, rescore=keep)
    index.add(x, ids)
    return index


@pytest.mark.parametrize(
    ("kind", "keep"),
    [
        *(("flat", keep) for keep in (None, "float16", "int8")),
        *(("ivf", None), ("ivf", "int8"), ("graph", None), ("graph", "float16"), ("bulk", None), ("bulk", "int8")),
    ],
)
def test_a_file_is_taken_as_it_is_and_its_rows_replace_others(tmp_path, model, vectors, queries, kind, keep):
    ids = np.random.default_rng(0).permutation(np.arange(1000, 3000))
    built(tmp_path / "x.bebr", kind, model, vectors[:2000], ids, keep)
    now = {**{i: vectors[2900] for i in range(900, 1100)}, **dict(zip(ids.tolist(), vectors[:2000], strict=True))}
    with Database(tmp_path / "data", seal_rows=10**9) as db:
        docs = db.create_collection("docs", model, keep=keep)
        docs.upsert(range(900, 1050), np.repeat(vectors[2900:2901], 150, 0), [{"old": i} for i in range(150)])
        docs.settle()
        docs.upsert(range(1050, 1100), np.repeat(vectors[2900:2901], 50, 0))
        docs.delete([1500])
        assert docs.attach(tmp_path / "x.bebr") == 2000
        docs.upsert([2999], vectors[2950:2951], [{"new": True}])
        docs.delete([2000])
    now[2999] = vectors[2950]
    del now[2000]
    assert examine(tmp_path / "data") == []
    (tmp_path / "x.bebr").unlink()
    for _ in range(2):
        with Database(tmp_path / "data", flat_rows=10**6) as db:
            docs = db.collection("docs")
            assert len(docs) == len(now) and docs.count({"old": {"exists": True}}) == 100
            assert [row.id for row in docs.scroll(limit=5000)] == sorted(now)
            found = docs.search(queries, 10, exact=True).ids
            want = fresh(model, np.stack(list(now.values())), list(now), keep).search(queries, 10).ids
            assert recall(found, want) > 0.98
            assert recall(docs.search(queries, 10).ids, found) > 0.9
            engine = docs.snapshot.engine
            for how in ({}, {"rescore": 30} if keep else {"exact": True}):
                found = docs.search(queries, 10, **how)  # in C++, vectors of the file included
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(type(docs.snapshot), "engine", None)
                    by_parts = docs.search(queries, 10, **how)
                assert engine is not None
                np.testing.assert_array_equal(found.ids, by_parts.ids)
                np.testing.assert_array_equal(found.scores, by_parts.scores)
            assert [row.payload for row in docs.get([2999, 1000, 901])] == [{"new": True}, None, {"old": 1}]
            docs.settle()


@pytest.mark.parametrize("keep", ["float16", "int8"])
def test_a_few_attached_rows_are_answered_exactly(tmp_path, model, vectors, queries, keep):
    """All of them get their exact score, from vectors that stand in an order of their own."""
    ids = np.random.default_rng(0).permutation(1200)
    built(tmp_path / "x.bebr", "ivf", model, vectors[:1200], ids, keep)
    with bebr.open(tmp_path / "data") as db:
        docs = db.create_collection("docs", model, keep=keep)
        docs.attach(tmp_path / "x.bebr")
        docs.delete(range(0, 1200, 5))
        left = ids % 5 != 0
        want = fresh(model, vectors[:1200][left], ids[left], keep).search(queries, 10, rescore=1200)
        found = docs.search(queries, 10)
        assert docs.snapshot.engine is not None
        np.testing.assert_array_equal(found.ids, want.ids)
        np.testing.assert_array_equal(found.scores, want.scores)


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path, model, vectors):
    other = bebr.untrained(64, 24)
    built(tmp_path / "codes.bebr", "flat", model, vectors[:100], range(100))
    built(tmp_path / "int8.bebr", "ivf", model, vectors[:100], range(100), "int8")
    built(tmp_path / "other.bebr", "graph", other, vectors[:100], range(100))
    built(tmp_path / "large.bebr", "flat", model, vectors[:1], [1 << 62])
    bebr.FlatIndex(model).save(tmp_path / "empty.bebr")
    shutil.copy(tmp_path / "codes.bebr", tmp_path / "bad.bebr")
    with (tmp_path / "bad.bebr").open("r+b") as file:
        file.seek((tmp_path / "bad.bebr").stat().st_size // 2)
        file.write(bytes(range(200)))
    with Database(tmp_path / "data") as db:
        docs, kept = db.create_collection("docs", model), db.create_collection("kept", model, keep="float16")
        docs.upsert([5], vectors[:1])
        docs.settle()
        (own,) = (tmp_path / "data" / "segments").iterdir()
        for collection, file, error, says in [
            (docs, "none.bebr", FileNotFoundError, "none.bebr"),
            (docs, "other.bebr", bebr.IncompatibleModel, "has codes of model"),
            (docs, "bad.bebr", bebr.CorruptFile, "bad.bebr"),
            (docs, "large.bebr", ValueError, "want ids below 2"),
            (docs, "empty.bebr", ValueError, "has no rows"),
            (kept, "codes.bebr", ValueError, "has none, but the collection keeps vectors as float16"),
            (kept, "int8.bebr", ValueError, "has int8 ones, but"),
        ]:
            with pytest.raises(error, match=says):
                collection.attach(tmp_path / file)
        with pytest.raises(ValueError, match=r"is a file of a collection|only names its model"):
            docs.attach(own)
        assert [file.name for file in (tmp_path / "data" / "segments").iterdir()] == [own.name]
        assert len(docs) == 1 and len(kept) == 0


def test_a_kill_leaves_all_of_it_or_nothing(tmp_path, model, vectors, monkeypatch):
    """From copies of the folder before and after each thing that is done to it."""
    built(tmp_path / "x.bebr", "ivf", model, vectors[:500], range(500))
    copies = []

    def copying(function):
        def call(*args, **how):
            result = function(*args, **how)
            copies.append(tmp_path / f"killed{len(copies)}")
            shutil.copytree(tmp_path / "data", copies[-1])
            return result

        return call

    from bebr.store.upkeep import attaching

    for name in ["brought", "write_segment", "sync_folder"]:
        monkeypatch.setattr(attaching, name, copying(getattr(attaching, name)))
    monkeypatch.setattr(attaching.os, "link", copying(attaching.os.link))
    with Database(tmp_path / "data", seal_rows=10**9) as db:
        docs = db.create_collection("docs", model)
        docs.upsert(range(400, 600), vectors[1000:1200], [{"old": True}] * 200)
        docs.attach(tmp_path / "x.bebr")
        shutil.copytree(tmp_path / "data", tmp_path / "after")
        assert len(docs) == 600
    assert len(copies) >= 4
    states = []
    for path in [*copies, tmp_path / "after"]:
        with bebr.open(path) as db:
            docs = db.collection("docs")
            states.append((len(docs), docs.count({"old": True})))
            docs.settle()
            assert len(list((path / "segments").iterdir())) == docs.stats().segments
    none, whole = (200, 200), (600, 100)
    assert states[:3] == [none] * 3 and states[-1] == whole
    assert set(states) == {none, whole}  # whole too where what follows it in the background was copied
