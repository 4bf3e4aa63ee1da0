"""Groups of hits in C++ are those that Python makes of the payloads of hits, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bebr.collection.options import Groups, SearchOptions
from bebr.store.database import Database
from bebr.store.search import searchable

PATHS = ["few", "many", "list", "mixed", "inner.deep", "inner", "fraction", "nowhere"]
NATIVE = [path for path in PATHS if path != "fraction"]


def payload_of(i: int) -> dict[str, object] | None:
    if i % 11 == 0:
        return None
    return {
        "few": ["a", "ü", "b"][i % 3],
        "many": i // 3,
        "list": [f"t{i % 5}", f"t{i % 7}", f"t{i % 5}", None, {"x": 1}],
        "mixed": [True, 1, "1", None, {"o": 1}, [1, "1", False], -(2**70)][i % 7],
        "inner": [{"deep": i % 4}, {"deep": str(i % 4)}] if i % 2 else {"deep": i % 4},
        "fraction": i / 2,
        "rare": i % 100,
    }


@pytest.fixture(scope="module", params=[("flat", None), ("flat", "float16"), ("auto", None)], ids=str)
def collection(request, bz, vectors, tmp_path_factory):
    """Files, removed rows, rows written again, rows without a vector and a tail."""
    index, keep = request.param
    with Database(tmp_path_factory.mktemp("groups"), flat_rows=1000) as db:
        made = db.create_collection("docs", bz, keep=keep, retrain=False, index=index)
        for begin, end in ((0, 1200), (1000, 2300)):
            rows = range(begin, end)
            made.upsert(rows, [*vectors[begin + 5 : end], *[None] * 5], [payload_of(i) for i in rows])
            made.settle()
        made.delete(range(0, 900, 7))
        made.upsert(range(2290, 2400), vectors[2290:2400], [payload_of(i) for i in range(2290, 2400)])
        yield made


@st.composite
def searches(draw):
    filter = draw(st.sampled_from([None, None, "rare", "few"]))
    how = {
        "exact": draw(st.booleans()),
        "radius": draw(st.sampled_from([None, None, 0.2])),
        "query": draw(st.sampled_from(["float", "code"])),
    }
    if filter is not None:
        how["filter"] = {filter: {"in": [1, 2, 3]} if filter == "rare" else "a"}
    if draw(st.integers(0, 3)) == 0:
        how["allow"] = np.random.default_rng(draw(st.integers(0, 99))).integers(
            0, 2500, draw(st.sampled_from([3, 600]))
        )
    by_ids = draw(st.integers(0, 3)) == 0
    if by_ids:
        del how["query"]
    shape = {"group_by": draw(st.sampled_from(PATHS)), "group_size": draw(st.sampled_from([1, 2, 7]))}
    return by_ids, draw(st.sampled_from([1, 3, 20, 400])), {**how, **shape, "offset": draw(st.sampled_from([0, 1, 30]))}


@settings(max_examples=25, deadline=None)
@given(searches(), st.integers(0, 500))
def test_groups_are_those_that_python_makes(collection, vectors, what, first):
    by_ids, k, how = what

    def found():
        if by_ids:
            return collection.search_ids([1 + 7 * (first // 2), 2310], k, **how)
        return collection.search(vectors[first : first + 2], k, **how)

    by_columns = [found(), found()][1]
    kept, searchable.search_in_groups = searchable.search_in_groups, lambda *_: None
    try:
        by_python = found()
    finally:
        searchable.search_in_groups = kept
    assert by_columns.groups == by_python.groups, how
    assert [list(map(type, row)) for row in by_columns.groups] == [list(map(type, row)) for row in by_python.groups]
    np.testing.assert_array_equal(by_columns.ids, by_python.ids, str(how))
    np.testing.assert_array_equal(by_columns.scores, by_python.scores, str(how))


def test_columns_are_looked_at_from_the_second_search_on(collection, vectors, monkeypatch):
    snapshot = collection.snapshot  # one: a merge may end meanwhile, and what follows it knows of no search
    for path in reversed(PATHS):  # "few" last: once many are known, after other tests, all are forgotten for a new one
        snapshot.grouped(None, path)
        assert (snapshot.grouped(None, path) is not None) == (path in NATIVE), path
    monkeypatch.setattr(searchable, "search_groups", None)  # which would be called for what is not known
    _, values = collection.search_groups(snapshot, vectors[:1], Groups("few", 1), SearchOptions(3))
    assert set(values[0]) == {"a", "b", "ü"}


def test_an_error_names_the_rescore_of_the_caller(tmp_path, bz, vectors):
    """Not the deeper one by which groups and words are looked for."""
    with Database(tmp_path) as db:
        docs = db.create_collection("docs", bz, text=["t"], retrain=False)
        docs.upsert(range(500), vectors[:500], [{"g": i, "t": "word"} for i in range(500)])
        for _ in ("in Python", "by columns"):
            with pytest.raises(ValueError, match="rescore is 20, but"):
                docs.search(vectors[:1], 10, group_by="g", rescore=20)
        with pytest.raises(ValueError, match="rescore is 20, but"):
            docs.search(vectors[:1], 10, text="word", rescore=20)
