"""Files of many rows are in lists or graphs, and searches of them keep what the collection promises."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.exact import exact
from bebr.store.backup.doctor import examine
from bebr.store.database import Database
from tests.conftest import clustered

ROWS = 4000


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return clustered(ROWS, 64)


def filled(db: Database, rows: np.ndarray, **how) -> bebr.store.collection.Collection:
    docs = db.create_collection("docs", bebr.untrained(64, 18), text="word", **how)
    payloads = [{"n": i, "word": f"w{i % 50} row{i}"} if i % 5 else None for i in range(ROWS)]
    ids = [i if i % 3 else f"s{i}" for i in range(ROWS)]
    vectors = [None if i % 97 == 0 else row for i, row in enumerate(rows)]
    for i in range(0, ROWS, 1000):
        some = slice(i, i + 1000)
        docs.upsert(ids[some], vectors[some], payloads[some])
        docs.settle()
    return docs


def agreement(found: np.ndarray, wanted: np.ndarray) -> float:
    """The share of the wanted rows that were found."""
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]))


@pytest.fixture(scope="module", params=[None, "float16"])
def kept_and_flat(request, tmp_path_factory, rows):
    with Database(tmp_path_factory.mktemp("flat"), seal_rows=10**9) as db:
        docs = filled(db, rows, index="flat", keep=request.param)
        assert docs.stats().rows_by_kind == {"flat": ROWS}
        yield request.param, docs


@pytest.mark.parametrize(("index", "kind"), [("auto", "ivf"), ("graph", "graph"), ("flat", "flat")])
def test_what_a_file_is_changes_no_row(tmp_path, rows, queries, kept_and_flat, index, kind):
    keep, flat = kept_and_flat
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = filled(db, rows, index=index, keep=keep)
        assert docs.stats().rows_by_kind == {kind: ROWS}
        for how in ({"exact": True}, {"exact": True, "filter": {"n": {"lt": 300}}}, {"filter": {"n": {"lt": 30}}}):
            if keep:  # by default as many as were measured, which a flat file of so few rows is not
                how["rescore"] = 80
            same, want = docs.search(queries, 20, **how), flat.search(queries, 20, **how)
            if kind == "graph" and not keep:  # whose scores by code are rounded otherwise
                assert agreement(same.ids, want.ids) > 0.99
            else:
                assert same.ids.tolist() == want.ids.tolist()
            np.testing.assert_allclose(same.scores, want.scores, atol=1e-4)
        found, want = (c.search(None, 9, text="w7 row102") for c in (docs, flat))
        assert found.ids.tolist() == want.ids.tolist()
        some = [4, "s300", "s291", 2002, 99]
        for mine, its in zip(docs.get(some, vectors=True), flat.get(some, vectors=True), strict=True):
            assert (mine and (mine.id, mine.payload)) == (its and (its.id, its.payload))
            np.testing.assert_array_equal(mine and mine.vector, its and its.vector)
        assert [row.id for row in docs.scroll()] == [row.id for row in flat.scroll()]
        assert docs.delete(filter={"n": {"lt": 100}}) == 80
        assert docs.count() == ROWS - 80 and docs.count({"n": {"lt": 101}}) == 0
    assert examine(tmp_path) == []
    with Database(tmp_path) as db:
        assert db.collection("docs").count() == ROWS - 80


@pytest.mark.parametrize("index", ["auto", "graph"])
def test_recall_is_measured_and_a_snapshot_restored(tmp_path, rows, index):
    """Of files in lists and of graphs: what was measured for them comes along, under their new names."""
    queries = clustered(200, 64, seed=9)
    with Database(tmp_path / "data", seal_rows=10**9, flat_rows=1000) as db:
        docs = filled(db, rows, index=index, keep="float16")
        kind = "graph" if index == "graph" else "ivf"
        whole = [i for i in range(ROWS) if i % 97]  # those that have a vector
        ids = np.array([i if i % 3 else f"s{i}" for i in whole], object)
        found = docs.search(queries, 10, rescore=20).ids
        true = ids[exact(rows[whole], queries, 10, "cosine")]
        measured = docs.measure_recall(queries, 10, rescore=20)
        assert abs(measured.recall - agreement(found, true)) < 0.005 and measured.low < measured.recall < measured.high
        assert docs.measure_recall(queries, 10, rescore=0).recall < measured.recall
        assert docs.measure_recall(200, 10).recall > 0.8
        db.snapshot(tmp_path / "place")
        db.restore_collection(tmp_path / "place", "docs", "back")
        bebr.restore(tmp_path / "place", tmp_path / "whole")
        back = db.collection("back")
        with Database(tmp_path / "whole", flat_rows=1000) as other:
            for made in (back, other.collection("docs")):
                assert made.stats().rows_by_kind == {kind: ROWS}
                for how in ({}, {"rescore": 0}, {"filter": {"n": {"lt": 2000}}}, {"exact": True}):
                    for _ in range(3):  # after which a filter's rows are copied
                        mine, its = docs.search(queries, 10, **how), made.search(queries, 10, **how)
                    np.testing.assert_array_equal(mine.ids, its.ids)
                    np.testing.assert_array_equal(mine.scores, its.scores)
        assert back.delete(filter={"n": {"lt": 100}}) == 80 and len(docs) == ROWS
    assert examine(tmp_path / "data") == []


@pytest.mark.parametrize(("index", "keep"), [("auto", "int8"), ("graph", None)])
def test_target_recall_is_kept_after_a_restart_too(tmp_path, rows, index, keep):
    queries = clustered(300, 64, seed=9)
    efforts = []
    for target in (0.8, 0.99):
        with Database(tmp_path / str(target), seal_rows=10**9, flat_rows=1000) as db:
            filled(db, rows, index=index, keep=keep, target_recall=target)
        with Database(tmp_path / str(target), flat_rows=1000) as db:
            docs = db.collection("docs")
            (effort,) = docs._contents.state.row.settings.efforts.values()
            efforts.append([many for _, many in effort])
            for k in (1, 10, 30, 100, 300):
                found = docs.search(queries, k, rescore=0 if keep else None).ids
                wanted = docs.search(queries, k, exact=True, rescore=0 if keep else None).ids
                assert agreement(found, wanted) >= target - 0.03
    assert np.all(np.array(efforts[0]) <= efforts[1])


def test_a_merge_that_is_cut_short_leaves_nothing(tmp_path, rows, monkeypatch):
    """At each of its pauses: what it had written goes, and the next merge begins anew."""
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 18), keep="int8")
        monkeypatch.setattr(docs._contents.current.shared.merger, "request", lambda _: None)
        for i in range(2):
            docs.upsert(range(i * 1000, i * 1000 + 1000), rows[i * 1000 : i * 1000 + 1000])
            docs._contents.seal()
        files = sorted(path.name for path in (tmp_path / "segments").iterdir())

        class Cut(Exception):
            pass

        pauses = [0, 0]

        def give_way():
            pauses[0] += 1
            if pauses[0] == pauses[1]:
                raise Cut

        docs._contents.merge(lambda: pauses.__setitem__(1, pauses[1] + 1))
        steps = pauses[1]
        assert docs.stats().rows_by_kind == {"ivf": 2000} and steps > 20
        docs.upsert(range(2000, 4000), rows[2000:])
        docs._contents.seal()
        files = sorted(path.name for path in (tmp_path / "segments").iterdir())
        for stop in (1, 2, steps // 2, steps - 100, steps - 1):
            pauses[:] = 0, stop
            with pytest.raises(Cut):
                docs._contents.merge(give_way)
            assert sorted(path.name for path in (tmp_path / "segments").iterdir()) == files
            assert docs.stats().rows_by_kind == {"ivf": 2000, "flat": 2000}
        docs._contents.merge()
        assert docs.stats().rows_by_kind == {"ivf": 4000}


def test_wrong_shapes_are_refused(tmp_path):
    with bebr.open(tmp_path) as db:
        with pytest.raises(ValueError, match="index is 'hnsw': want one of 'auto', 'flat', 'graph'"):
            db.create_collection("a", dim=8, index="hnsw")
        for wrong in (0, 1.5, True, "high"):
            with pytest.raises(ValueError, match=r"target_recall is .*: want above 0, at most 1"):
                db.create_collection("a", dim=8, target_recall=wrong)
    with pytest.raises(ValueError, match="flat_rows is 0: want 1 or greater"):
        Database(tmp_path, flat_rows=0)
