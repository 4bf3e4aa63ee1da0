"""Filters over rows in lists: what searches find where rows stand, and in copies of those that match."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bebr.store.database import Database
from bebr.store.snapshots import copies

ROWS = 2800
_fresh = itertools.count(1)


@pytest.fixture
def docs(tmp_path, bz, vectors, monkeypatch):
    """In 128 lists, but for 200 rows. `n`: by chance; `near`: by nearness to one of them."""
    monkeypatch.setattr(copies, "_MOST_SCANNED", 50)
    monkeypatch.setattr(copies, "_LEAST_AT_ONCE", 300)
    monkeypatch.setattr(copies, "_DUE_OF_LISTS", 300)
    by_chance = np.random.default_rng(1).permutation(3000)
    near = np.argsort(np.argsort(-(vectors @ vectors[0])))
    payloads = [{"n": int(n), "near": int(m)} for n, m in zip(by_chance, near, strict=True)]
    with Database(tmp_path, seal_rows=10**6, flat_rows=500) as db:
        docs = db.create_collection("docs", bz)
        docs.upsert(np.arange(ROWS), vectors[:ROWS], payloads[:ROWS])
        docs.settle()
        docs.upsert(np.arange(ROWS, 3000), vectors[ROWS:], payloads[ROWS:])
        yield docs


def never_copied(filter):
    """The same rows, by a filter that does not come again."""
    return {"$and": [filter, {"n": {"gte": -next(_fresh)}}]}


def searched_often(docs, queries, filter):
    """Until there is a whole copy."""
    for _ in range(12):
        docs.search(queries[:1], 10, filter=filter)
    part = docs.snapshot.segments[0].part
    (copy,) = part.copies._copies.values()
    assert copy.in_lists and copy.whole
    return copy


def recall(found, wanted):
    pairs = zip(found.ids.tolist(), wanted.ids.tolist(), strict=True)
    return sum(len(set(one) & set(other)) for one, other in pairs) / wanted.ids.size


@pytest.mark.parametrize("below", [1600, 300])
@pytest.mark.parametrize("field", ["n", "near"])
def test_a_copy_in_lists_answers_as_a_scan_does(docs, queries, vectors, field, below):
    """`exact` to the bit, whatever was written meanwhile, and by how many queries."""
    filter = {field: {"lt": below}}
    copy = searched_often(docs, queries, filter)
    for step in range(3):
        for asked in (queries[:1], queries):
            expected = docs.search(asked, 10, filter=never_copied(filter), exact=True)
            hits = docs.search(asked, 10, filter=filter, exact=True)
            np.testing.assert_array_equal(hits.ids, expected.ids)
            np.testing.assert_array_equal(hits.scores, expected.scores)
        docs.delete(docs.search(queries[step], 7, filter=filter).ids[0])
        docs.upsert([step], vectors[5:6], [{"n": 3, "near": 3}])
    assert copy in docs.snapshot.segments[0].part.copies._copies.values()


@pytest.mark.parametrize("field", ["n", "near"])
def test_as_many_results_as_rows_match(docs, queries, field):
    """Near all of them and far from them, in one list of a copy and in many, with few rows alive."""
    filter = {field: {"lt": 120}}
    left = docs.count(filter)
    far = np.concatenate([queries, -queries])
    searched_often(docs, queries, filter)
    while left > 0:
        for wanted in (filter, never_copied(filter)):
            found = docs.search(far, 100, filter=wanted).ids
            assert ((found >= 0).sum(axis=1) == min(left, 100)).all()
        gone = docs.search(queries[0], 50, filter=filter).ids[0]
        left -= docs.delete(gone[gone >= 0])
        assert docs.count(filter) == left


@pytest.mark.parametrize("field", ["n", "near"])
@pytest.mark.parametrize("below", [1500, 300])
def test_a_filter_costs_no_recall(docs, queries, field, below):
    """Of what an exact search finds, for queries anywhere and for those far from what matches."""
    filter = {field: {"lt": below}}
    plain = {"nprobe": 6}
    searched_often(docs, queries, filter)
    for asked in (queries, -queries):
        unfiltered = recall(docs.search(asked, 10, **plain), docs.search(asked, 10, exact=True))
        every = docs.search(asked, 10, filter=filter, exact=True)
        assert recall(docs.search(asked, 10, filter=filter, **plain), every) > unfiltered - 0.03
        assert recall(docs.search(asked, 10, filter=never_copied(filter), **plain), every) > unfiltered - 0.03


@pytest.mark.parametrize("below", [1500, 600, 120])
def test_a_batch_gets_what_its_queries_get_alone(docs, queries, below):
    """Near what matches, and far from it, where a batch shares what it reads: lists, or all rows of a small copy."""
    filter = {"near": {"lt": below}}
    searched_often(docs, queries, filter)
    asked = np.concatenate([queries, -queries])
    for removed in (False, True):
        batch = docs.search(asked, 10, filter=filter, nprobe=3)
        for at, query in enumerate(asked):
            alone = docs.search(query, 10, filter=filter, nprobe=3)
            np.testing.assert_array_equal(alone.ids[0], batch.ids[at])
            np.testing.assert_array_equal(alone.scores[0], batch.scores[at])
        if not removed:
            docs.delete(np.unique(batch.ids[:, 0]))


def test_copies_in_lists_have_a_bound(docs, queries, monkeypatch):
    part = docs.snapshot.segments[0].part
    part.copies._most_rows = 700
    for _ in range(6):
        for begin in range(0, 1200, 300):
            docs.search(queries[0], 10, filter={"n": {"gte": begin, "lt": begin + 300}})
    kept = [len(copy.rows) for copy in part.copies._copies.values() if copy.begun]
    assert kept and sum(kept) <= 700


def test_a_radius_holds_in_a_copy(docs, queries):
    filter = {"n": {"lt": 1600}}
    searched_often(docs, queries, filter)
    every = docs.search(queries, 40, filter=never_copied(filter), exact=True)
    radius = float(np.median(every.scores[:, 10]))
    ascending = docs.binarizer.metric == "l2"
    hits = docs.search(queries, 40, filter=filter, exact=True, radius=radius)
    beyond = every.scores > radius if ascending else every.scores < radius
    np.testing.assert_array_equal(hits.ids, np.where(beyond, -1, every.ids))
