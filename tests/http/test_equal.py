"""Answers over HTTP equal those of the same collection in a folder, whatever is asked."""

from __future__ import annotations

import itertools
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bebr
from tests.http_client import Http

NAMES = [*range(60), *(f"doc-{i}" for i in range(60)), *(UUID(int=i) for i in range(60))]
PAYLOADS = [
    None if i % 7 == 0 else {"n": i, "lang": ("de", "en", "ü\u2028<b>")[i % 3], "tags": ["a", i % 4], "x": {"y": i / 3}}
    for i in range(len(NAMES))
]

ids = st.lists(st.sampled_from([*NAMES, 999, "nobody"]), max_size=8)
scalars = st.one_of(st.integers(-5, 200), st.booleans(), st.sampled_from(["de", "en", "a"]), st.floats(-50, 50))
filters = st.recursive(
    st.one_of(
        st.builds(lambda path, value: {path: value}, st.sampled_from(["n", "lang", "tags", "x.y"]), scalars),
        st.builds(lambda low: {"n": {"gte": low}}, st.integers(0, 180)),
        st.just({}),
    ),
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=4,
)
options = st.fixed_dictionaries(
    {},
    optional={
        "k": st.integers(1, 200),
        "exact": st.booleans(),
        "filter": filters,
        "allow": ids,
        "radius": st.floats(-1, 1),
        "offset": st.integers(0, 30),
        "with_payloads": st.booleans(),
        "rescore": st.sampled_from([None, 0]),
    },
)


@pytest.fixture(scope="module")
def both(web, bz, vectors, tmp_path_factory):
    """The same rows in a folder and on a server."""
    http = Http(web.http)
    with bebr.open(tmp_path_factory.mktemp("equal")) as db:
        made = [one.create_collection("equal", bz, keep="float16") for one in (db, http)]
        for docs in made:
            docs.upsert(NAMES, vectors[: len(NAMES)], PAYLOADS)
            docs.flush()
            docs.upsert(NAMES[:5], vectors[1000:1005], PAYLOADS[:5])
            docs.delete(NAMES[100:103])
        yield made
    http.drop_collection("equal")


def same(local, remote) -> None:
    assert local.ids.tolist() == remote.ids.tolist()
    np.testing.assert_array_equal(local.scores, remote.scores)
    assert (local.payloads, local.groups) == (remote.payloads, remote.groups)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2999), min_size=1, max_size=3), options, st.booleans())
def test_searches_by_vector(both, vectors, rows, how, as_numbers):
    q = vectors[rows]
    local = both[0].search(q, **how)
    same(local, both[1].search(q.tolist() if as_numbers else q, **how))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(NAMES[:100]), min_size=1, max_size=3), options)
def test_searches_by_row(both, names, how):
    same(both[0].search_ids(names, **how), both[1].search_ids(names, **how))


@settings(max_examples=30, deadline=None)
@given(ids, st.booleans(), st.booleans())
def test_rows_by_id(both, names, payloads, with_vectors):
    how = {"payloads": payloads, "vectors": with_vectors}
    for local, remote in itertools.zip_longest(both[0].get(names, **how), both[1].get(names, **how)):
        assert (local is None) == (remote is None)
        if local is not None:
            assert (local.id, local.payload) == (remote.id, remote.payload)
            np.testing.assert_array_equal(local.vector, remote.vector)


@settings(max_examples=30, deadline=None)
@given(filters, st.integers(1, 300), st.sampled_from([None, *NAMES]))
def test_counts_and_pages(both, filter, limit, after):
    assert both[0].count(filter) == both[1].count(filter)
    pages = [[(row.id, row.payload) for row in one.scroll(filter=filter, limit=limit, after=after)] for one in both]
    assert pages[0] == pages[1]
