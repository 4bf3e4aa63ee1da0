"""How many of the best by code get exact scores where a search does not say: what was measured of each file."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bebr
from bebr._core import Candidates
from bebr.exact import exact, recall
from bebr.store.backup.doctor import examine
from bebr.store.database import Database
from bebr.store.search import searching
from tests.conftest import clustered

ROWS, USUAL = 12_000, {1: 23, 10: 50, 100: 320}


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return clustered(ROWS, 64)


@pytest.fixture(scope="module")
def poor() -> bebr.Binarizer:
    """Codes of ten bytes, that say little of 64 dimensions."""
    return bebr.untrained(64, 10)


def filled(db: Database, bz: bebr.Binarizer, rows: np.ndarray, **how) -> bebr.store.collection.Collection:
    docs = db.create_collection("docs", bz, **{"keep": "float16"} | how)
    docs.upsert(range(len(rows)), rows)
    docs.settle()
    return docs


def asked(docs) -> list[int]:
    return [docs.snapshot.candidates.at(k) for k in USUAL]


@pytest.mark.parametrize("index", ["auto", "graph", "flat"])
def test_searches_reach_the_target_whatever_the_codes(tmp_path, rows, poor, index):
    """With 3 k + 20 candidates these found .83 of the ten best."""
    queries = clustered(200, 64, seed=3)
    nearest = exact(rows, queries, 100, "cosine")
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = filled(db, poor, rows, index=index)
        (kind,) = docs.stats().rows_by_kind
        assert kind == {"auto": "ivf"}.get(index, index)
        for k, usual in USUAL.items():
            found, before = (recall(docs.search(queries, k, rescore=r).ids, nearest[:, :k]) for r in (None, usual))
            assert before < 0.95 and found > 0.965
        assert docs.measure_recall(200, 10).recall > 0.965
        assert docs.measure_recall(200, 10, rescore=50).recall < 0.93


def test_codes_that_are_good_enough_take_no_more_than_before(tmp_path, rows):
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = filled(db, bebr.untrained(64, 34), rows)
        (view,) = docs.snapshot.segments
        assert [k for k, _ in view.part.rescored] == [10, 100]
        assert all(k <= many < USUAL[k] for k, many in view.part.rescored)
        assert asked(docs) == list(USUAL.values())


def test_a_higher_target_takes_more_candidates(tmp_path, rows, poor):
    found = []
    for target in (0.8, 0.95, 0.99):
        with Database(tmp_path / str(target), seal_rows=10**9, flat_rows=1000) as db:
            found.append(asked(filled(db, poor, rows, target_recall=target)))
    assert np.all(np.diff(found, axis=0) >= 0) and np.all(np.array(found[0]) < found[2])


def test_lists_are_measured_for_as_many_candidates_as_a_search_takes(tmp_path, rows, poor):
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = filled(db, poor, rows)
        (view,) = docs.snapshot.segments
        wanted = [many for _, many in view.part.rescored]
        assert wanted == [many for many, _ in view.part.effort.by_k] == asked(docs)[1:]


def test_what_is_not_measured_is_as_before(tmp_path, rows, poor):
    """Rows in memory, small flat files, collections without vectors, and records of versions that measured nothing."""
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = filled(db, poor, rows[:6000])
        assert asked(docs) == list(USUAL.values())
        docs.upsert(range(6000, ROWS), rows[6000:])
        assert asked(docs) == list(USUAL.values())
        docs.settle()
        measured = asked(docs)
        assert np.all(np.array(measured) > list(USUAL.values()))
        state = docs._contents.state
        settings = replace(state.row.settings, rescored={})
        docs._contents.current.run(lambda: state.set_row(replace(state.row, settings=settings)))
        assert "rescored" not in settings.to_json()
        bare = db.create_collection("codes", poor, keep=None)
        bare.upsert(range(ROWS), rows)
        bare.settle()
        assert [view.part.rescored for view in bare.snapshot.segments] == [None]
    with Database(tmp_path) as db:
        docs = db.collection("docs")
        assert asked(docs) == list(USUAL.values())
        docs.upsert(range(6000), rows[:6000])
        docs.settle()  # measured with the next merge
        assert measured == pytest.approx(asked(docs), rel=0.2)
    assert examine(tmp_path) == []


@pytest.mark.parametrize("index", ["auto", "graph", "flat"])
def test_it_outlives_a_restart_and_a_restore(tmp_path, rows, poor, index):
    queries = clustered(50, 64, seed=3)
    with Database(tmp_path / "data", seal_rows=10**9, flat_rows=1000) as db:
        docs = filled(db, poor, rows, index=index)
        wanted, measured = docs.search(queries, 10), asked(docs)
        assert np.all(np.array(measured) > list(USUAL.values()))
        db.snapshot(tmp_path / "place")
        db.restore_collection(tmp_path / "place", "docs", "back")
    bebr.restore(tmp_path / "place", tmp_path / "whole")
    for path, name in (("data", "docs"), ("data", "back"), ("whole", "docs")):
        with Database(tmp_path / path, flat_rows=1000) as db:
            docs = db.collection(name)
            assert asked(docs) == measured
            np.testing.assert_array_equal(docs.search(queries, 10).ids, wanted.ids)
            assert docs.search(queries, 10, rescore=50).ids.tolist() != wanted.ids.tolist()


@pytest.mark.parametrize("kind", ["ivf", "flat"])
def test_attached_files_are_measured(tmp_path, rows, poor, kind):
    index = bebr.IVFIndex(poor, 64, rescore="float16") if kind == "ivf" else bebr.FlatIndex(poor, rescore="float16")
    index.add(rows, np.arange(ROWS))
    index.save(tmp_path / "x.bebr")
    with Database(tmp_path / "data", seal_rows=10**9) as db:
        docs = db.create_collection("docs", poor, keep="float16")
        docs.attach(tmp_path / "x.bebr")
        measured = asked(docs)
        assert np.all(np.array(measured) > list(USUAL.values()))
    with Database(tmp_path / "data") as db:
        assert asked(db.collection("docs")) == measured


def test_a_migration_measures_the_new_codes(tmp_path, rows, poor):
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = filled(db, poor, rows)
        assert asked(docs)[1] > 100
        docs.migrate(bebr.untrained(64, 34), wait=True)
        assert asked(docs) == list(USUAL.values())
    with Database(tmp_path) as db:
        assert asked(db.collection("docs")) == list(USUAL.values())


def test_answers_equal_those_by_parts(tmp_path, rows, poor):
    """Of files that were measured and rows that were not, with filters, ids and rows for queries."""
    queries = clustered(40, 64, seed=3)
    with Database(tmp_path, seal_rows=10**9, flat_rows=1000) as db:
        docs = filled(db, poor, rows[:-2000])
        docs.upsert(range(ROWS - 2000, ROWS), rows[-2000:], [{"odd": bool(i % 2)} for i in range(2000)])
        docs.delete(range(0, 5000, 3))
        assert docs.snapshot.engine is not None and asked(docs)[1] > 100
        for ask in (
            lambda **how: docs.search(queries, 10, **how),
            lambda **how: docs.search(queries, 10, allow=np.arange(1, ROWS, 2), **how),
            lambda **how: docs.search(queries, 10, filter={"odd": True}, **how),
            lambda **how: docs.search(queries, 100, query="code", **how),
            lambda **how: docs.search_ids([1, 2, 4], 7, **how),
        ):
            found = ask()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(docs.snapshot), "engine", None)
                by_parts = ask()
            np.testing.assert_array_equal(found.ids, by_parts.ids)
            np.testing.assert_array_equal(found.scores, by_parts.scores)
        assert searching.candidates(docs.snapshot, 10, None, False) == asked(docs)[1] <= docs.candidates(10)


measurements = st.lists(
    st.tuples(
        st.integers(0, 10**9),
        st.one_of(
            st.just([]),
            st.tuples(st.integers(10, 1024)).map(lambda one: [(10, one[0])]),
            st.tuples(st.integers(10, 1024), st.integers(100, 1024)).map(lambda two: [(10, two[0]), (100, two[1])]),
        ),
    ),
    max_size=8,
)


@given(measurements, st.integers(1, 5000))
def test_what_was_measured_of_each_file_adds_up(files, k):
    def needed(rows: int, by_k: list[tuple[int, int]]) -> float:
        share = rows / max(total, 1)
        if not by_k:
            return share * (3 * k + 20)
        power = max(0.0, math.log10(by_k[-1][1] / by_k[0][1])) if len(by_k) > 1 else 0.0
        return by_k[0][1] * (share * k / 10) ** power

    total = sum(rows for rows, _ in files)
    wanted = sum(needed(rows, by_k) for rows, by_k in files if rows)
    found = Candidates(files).at(k)
    assert abs(found - max(3 * k + 20, min(4096, wanted))) <= 1 + 1e-9 * wanted
    assert 3 * k + 20 <= found <= Candidates(files).at(k + 1) <= max(3 * k + 23, 4096)
    whole = [(rows, by_k) for rows, by_k in files if by_k]
    if len(whole) == len(files) == 1 and files[0][0]:
        assert Candidates([*files, (0, [])]).at(k) == found  # a file without rows wants nothing
