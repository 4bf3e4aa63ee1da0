"""How many of the best by code get exact scores where a search does not say: what was measured of each file."""

from __future__ import annotations

import math
import time
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


def reached(docs, many: int) -> None:
    """Waits until rows in memory were measured when they were so many."""
    end = time.monotonic() + 30
    while docs._contents.state.tail.measured < many:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_rows_in_memory_reach_the_target(tmp_path, rows, poor):
    """With 3 k + 20 candidates, as it was before they were measured, .83 of the ten best. Some are dead: written again,
    or deleted."""
    queries = clustered(200, 64, seed=3)
    nearest = exact(rows, queries, 100, "cosine")
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", poor, keep="float16")
        docs.upsert(range(ROWS - 4000, ROWS + 1000), clustered(5000, 64, seed=9))
        docs.delete(range(ROWS, ROWS + 1000))
        docs.upsert(range(ROWS), rows)
        reached(docs, ROWS + 5000)
        assert docs.stats().segments == 0
        for k, usual in USUAL.items():
            found, before = (recall(docs.search(queries, k, rescore=r).ids, nearest[:, :k]) for r in (None, usual))
            assert before < 0.95 and found > 0.965
        in_memory = asked(docs)
        docs.settle()
        assert asked(docs) == pytest.approx(in_memory, rel=0.3)
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.collection("docs")
        docs.upsert(range(ROWS, 2 * ROWS), clustered(ROWS, 64, seed=9))
        docs.delete(range(ROWS, 2 * ROWS - 6000))
        assert docs.snapshot.tail.part.rescored is None  # the file of as many rows speaks for them
        assert np.all(np.array(asked(docs)) > list(USUAL.values()))


def test_rows_in_memory_whose_codes_are_good_take_no_more_than_before(tmp_path, rows):
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", bebr.untrained(64, 34), keep="float16")
        docs.upsert(range(ROWS), rows)
        reached(docs, ROWS)
        assert docs.snapshot.tail.part.rescored is not None
        assert asked(docs) == list(USUAL.values())


def test_rows_in_memory_are_measured_after_a_restart_too(tmp_path, rows, poor):
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", poor, keep="float16")
        docs.upsert(range(ROWS), rows)
        reached(docs, ROWS)
        measured = asked(docs)
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.collection("docs")
        reached(docs, ROWS)
        assert docs.stats().segments == 0 and asked(docs) == measured


@pytest.mark.parametrize(("count", "dim", "exactly"), [(2000, 64, True), (9000, 64, True), (2100, 512, False)])
def test_so_few_bytes_of_vectors_are_all_scored(tmp_path, count, dim, exactly):
    """With a filter, too, and whatever the codes say."""
    made, queries = clustered(count, dim), clustered(100, dim, seed=3)
    allow = np.arange(0, count, 3)
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = db.create_collection("docs", bebr.untrained(dim, 10), keep="float16")
        docs.upsert(range(count), made, [{"third": i % 3 == 0} for i in range(count)])
        for how, these in (({}, np.arange(count)), ({"allow": allow}, allow), ({"filter": {"third": True}}, allow)):
            for _ in range(3):  # a filter that comes again is answered by another way
                found = docs.search(queries, 10, **how).ids
                true = these[exact(made[these], queries, 10, "cosine")]
                assert (recall(found, true) > 0.99) == exactly
        assert docs.snapshot.all_scored == exactly
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(docs.snapshot), "engine", None)  # each part by itself takes longer
            assert replace(docs.snapshot).all_scored == (count == 2000)


def test_what_is_not_measured_is_as_before(tmp_path, rows, poor):
    """Small flat files, collections without vectors, and records of versions that measured nothing."""
    with Database(tmp_path, seal_rows=10**9) as db:
        docs = filled(db, poor, rows[:1900])
        assert asked(docs) == list(USUAL.values())
        docs.upsert(range(ROWS), rows)
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
    def power(by_k: list[tuple[int, int]]) -> float:
        return max(0.0, math.log10(by_k[-1][1] / by_k[0][1])) if len(by_k) > 1 else 0.0

    def needed(rows: int, by_k: list[tuple[int, int]]) -> float:
        share, more = rows / max(total, 1), 1.0
        if not by_k:
            if not largest[0]:
                return share * (3 * k + 20)
            by_k = largest[1]
            more = (rows / largest[0]) ** max(0.0, 1 - power(by_k))
        return more * by_k[0][1] * (share * k / 10) ** power(by_k)

    total = sum(rows for rows, _ in files)
    # What was measured of the largest file holds for those that were not, too.
    largest = max(((rows, by_k) for rows, by_k in files if by_k), key=lambda file: file[0], default=(0, []))
    wanted = sum(needed(rows, by_k) for rows, by_k in files if rows)
    found = Candidates(files).at(k)
    assert abs(found - max(3 * k + 20, min(4096, wanted))) <= 1 + 1e-9 * wanted
    assert 3 * k + 20 <= found <= Candidates(files).at(k + 1) <= max(3 * k + 23, 4096)
    whole = [(rows, by_k) for rows, by_k in files if by_k]
    if len(whole) == len(files) == 1 and files[0][0]:
        assert Candidates([*files, (0, [])]).at(k) == found  # a file without rows wants nothing
