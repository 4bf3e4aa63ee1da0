"""Searches of a snapshot in C++ answer what the search by parts does, to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bebr
from bebr._core import CollectionSearch, StopFlag
from bebr.arrays import normalized
from bebr.collection.options import SearchOptions
from bebr.errors import Cancelled
from bebr.store.database import Database
from bebr.store.search import searching
from tests.conftest import model_of

DIM = 64


@pytest.fixture(scope="module")
def models(vectors):
    return {metric: model_of(vectors, widths=[48, 16], metric=metric) for metric in ("cosine", "ip", "l2")} | {
        "untrained": bebr.untrained(DIM, 16, metric="cosine")
    }


# Each index with each metric, with what it keeps and without it.
MADE = [
    *(("flat", keep, model) for keep in (None, "float16", "int8") for model in ("cosine", "ip", "l2", "untrained")),
    ("auto", None, "cosine"),
    ("auto", None, "ip"),
    ("auto", "int8", "l2"),
    ("auto", "int8", "untrained"),
    ("graph", "float16", "cosine"),
    ("graph", "float16", "ip"),
    ("graph", "float16", "l2"),
]


@pytest.fixture(scope="module", params=MADE, ids=lambda made: "-".join(map(str, made)))
def collection(request, models, vectors, tmp_path_factory):
    """Segments, removed rows, rows written again, rows without a vector and a tail."""
    index, keep, model = request.param
    with Database(tmp_path_factory.mktemp("engine"), flat_rows=1000) as db:
        made = db.create_collection("docs", models[model], keep=keep, retrain=False, index=index)
        made.upsert(range(1500), vectors[:1500])
        made.settle()
        made.upsert(range(1000, 2400), vectors[1400:2800])
        made.settle()
        made.delete(range(0, 900, 7))
        made.upsert([5, 2000, 2399, 2500], [vectors[5], None, vectors[0], vectors[1]])
        made.upsert(range(2600, 2800), vectors[2800:3000])
        assert index in made.stats().rows_by_kind or index == "auto"
        yield made


def by_parts(collection, queries, options, allow=None):
    """The same search, by the parts in Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(collection.snapshot), "engine", None)
        return searching.search_vectors(collection.snapshot, collection.binarizer, queries, options, allow)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_answers_equal_those_by_parts(collection, queries, data):
    k = data.draw(st.sampled_from([1, 3, 10, 40, 3000]))
    effort = data.draw(st.sampled_from([(None, False), (None, True), (1, False), (20, False)]))
    kept = collection.snapshot.keeps
    rescore = data.draw(st.sampled_from([None, 0, k, 3 * k]) if kept else st.sampled_from([None, 0]))
    radius = data.draw(st.sampled_from([None, 0.1, 0.6, 1.2]))
    query = data.draw(st.sampled_from(["float", "code"]))
    looked_at = data.draw(st.sampled_from([(None, None), (1, 1), (7, 90), (1 << 20, 3000)])) if not effort[1] else ()
    given = dict(zip(("nprobe", "ef_search"), looked_at, strict=False))
    options = SearchOptions(k, query, *effort, radius, rescore, **given)
    some = queries[: data.draw(st.sampled_from([1, 2, 9, 50]))]
    assert collection.snapshot.engine is not None
    allow = None
    if data.draw(st.booleans()):  # listed, or as bits; twice; of no row
        count = data.draw(st.sampled_from([0, 1, 30, 900, 5000]))
        allow = np.random.default_rng(count).integers(0, 3000, count)
    found = searching.search_vectors(collection.snapshot, collection.binarizer, some, options, allow)
    wanted = by_parts(collection, some, options, allow)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_rows_are_searched_by_as_the_parts_do(collection, data):
    k = data.draw(st.sampled_from([1, 10, 3000]))
    exact, radius = data.draw(st.booleans()), data.draw(st.sampled_from([None, 0.6]))
    rescore = data.draw(st.sampled_from([None, 0, 3 * k]) if collection.snapshot.keeps else st.just(None))
    options = SearchOptions(k, "float", None, exact, radius, rescore)
    # In a file, in another one, in the tail, written again, twice.
    ids = np.array(data.draw(st.sampled_from([[1], [950, 2300, 2600], [2500, 5, 2399, 5, 2700, 1001]])))
    allow = data.draw(st.sampled_from([None, np.arange(0, 2800, 3), np.array([1, 5])]))
    how = collection.snapshot, collection.binarizer, ids, options, allow
    found = searching.search_rows(*how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(collection.snapshot), "engine", None)
        wanted = searching.search_rows(*how)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_what_it_refuses(collection, queries):
    options = SearchOptions(3, rescore=5)
    if not collection.snapshot.keeps:
        with pytest.raises(ValueError, match="rescore is 5, but this collection keeps no vectors"):
            searching.search_vectors(collection.snapshot, collection.binarizer, queries, options)
    stop = StopFlag()
    stop.set()
    with pytest.raises(Cancelled):
        searching.search_vectors(
            collection.snapshot, collection.binarizer, queries, replace(options, rescore=None), stop=stop
        )


def test_what_is_asked_again_is_made_once():
    options = [SearchOptions(3), SearchOptions(4, filter=bebr.F("a") == 1)]
    first = [searching.asked(one) for one in options]
    assert [searching.asked(one) for one in options] == first and first[0] is not first[1]
    for one in (SearchOptions(3, filter=bebr.F("a") == "x" * 5000), SearchOptions(3, model=bebr.untrained(8, 8))):
        assert searching.asked(one) is not searching.asked(one)  # held by nobody
    assert searching.asked(options[0], allow=np.arange(3)) is not first[0]


@pytest.mark.parametrize("dim", [*range(1, 20), 63, 127, 128, 129, 200, 256, 257, 384, 768, 1000, 1537])
def test_queries_are_scaled_as_documents_are_to_the_bit(dim):
    """Two implementations of one sum: numpy's, and that of a query on its way to a code."""
    rng = np.random.default_rng(dim)
    bz = bebr.untrained(dim, 8, metric="cosine")
    x = rng.standard_normal((7, dim)).astype(np.float32)
    x[1], x[2], x[3], x[4] = 0, x[2] * 1e30, x[3] * 1e-30, x[4] * 1e-16
    np.testing.assert_array_equal(bz.query_model.vectors(x, False), normalized(x))
    np.testing.assert_array_equal(bz.query_model.vectors(x[:1], False), normalized(x[:1]))


def test_a_snapshot_that_others_hold_outlives_its_collection(models, vectors, queries, tmp_path):
    with bebr.open(tmp_path) as db:
        made = db.create_collection("docs", models["l2"], keep="float16", retrain=False)
        made.upsert(range(2500), vectors[:2500])
        engine = made.snapshot.engine
        wanted = made.search(queries, 5)
        made.upsert(range(2500), vectors[500:3000])
        made.settle()
        made.truncate()
    scores, ids = engine.search(queries, CollectionSearch(5))
    np.testing.assert_array_equal(ids, wanted.ids)
    np.testing.assert_array_equal(scores, wanted.scores)
