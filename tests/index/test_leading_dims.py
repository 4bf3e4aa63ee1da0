"""A large batch over many rows: most of them are ruled out by the leading dims of their codes (docs/experiments/
leading-dims.md). What is found is what scoring all dims of all rows finds."""

from __future__ import annotations

import numpy as np
import pytest

import bebr

# The others scan sign planes first, and lose what a margin loses.
pytestmark = pytest.mark.skipif(
    bebr.info()["isa"] not in ("avx2", "avxvnni", "avx512", "amx", "neon_dot", "neon_i8mm"),
    reason="this instruction set does not score whole codes",
)

# Rows: AVX-512 reads leading dims alone from 16,384 on.
ROWS, QUERIES, DIM, K = 20_000, 160, 256, 10


def falling(rng, rows):
    return rng.standard_normal((rows, DIM), np.float32) / np.sqrt(np.arange(1, DIM + 1, dtype=np.float32))


@pytest.fixture(scope="module")
def spread():
    """Rows and queries of a falling spectrum, as of embeddings."""
    rng = np.random.default_rng(1)
    return falling(rng, ROWS), falling(rng, QUERIES)


@pytest.fixture(scope="module")
def crowded():
    """The same, but every query has 30 rows so near that their last dims are nearly its own, after all others."""
    rng = np.random.default_rng(2)
    queries = falling(rng, QUERIES)
    near = np.repeat(queries, 30, axis=0) + 0.1 * falling(rng, 30 * QUERIES)
    return np.concatenate([falling(rng, ROWS - len(near)), near]), queries


@pytest.fixture(scope="module")
def trained(spread):
    return bebr.train(spread[0][:3000], bytes_per_vector=84, metric="cosine", seed=0)


@pytest.fixture(scope="module")
def steep():
    """Rows, queries and a model whose first dims are many times as large as the others, and fill whole tiles of 64."""
    rng = np.random.default_rng(3)
    scale = np.where(np.arange(DIM) < 4, 30, 1).astype(np.float32)
    rows, queries = falling(rng, ROWS) * scale, falling(rng, QUERIES) * scale
    model = bebr.train(rows[:3000], bytes_per_vector=128, metric="l2", seed=0)
    assert model.dims == DIM
    return rows, queries, model


def found(model, data):
    rows, queries = data
    index = bebr.FlatIndex(model)
    index.add(rows)
    return index.search(queries, K), index.search(queries, K, exact=True)


@pytest.mark.parametrize("data", ["spread", "crowded"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_leading_dims_lose_nothing(request, data, metric, trained):
    model = trained if metric == "cosine" else bebr.untrained(DIM, 84, metric="l2", seed=0)
    some, all_dims = found(model, request.getfixturevalue(data))
    assert (some.ids == all_dims.ids).mean() > 0.998
    same = some.ids == all_dims.ids
    np.testing.assert_array_equal(some.scores[same], all_dims.scores[same])


@pytest.mark.parametrize("data", ["spread", "crowded"])
@pytest.mark.parametrize("allowed", [None, 0.95])
def test_leading_dims_lose_nothing_of_many_lists(request, data, allowed, trained):
    """The nearest lists are read whole, and what they teach has to do for the others."""
    rows, queries = request.getfixturevalue(data)
    index = bebr.IVFIndex(trained, nlist=64)
    index.add(rows)
    allow = None if allowed is None else np.arange(round(allowed * ROWS))
    some = index.search(queries, K, nprobe=56, allow=allow)
    all_dims = index.search(queries, K, nprobe=56, allow=allow, margin="exact")
    assert (some.ids == all_dims.ids).mean() > 0.998
    same = some.ids == all_dims.ids
    np.testing.assert_array_equal(some.scores[same], all_dims.scores[same])


@pytest.mark.parametrize("data", ["spread", "crowded"])
def test_leading_dims_lose_nothing_of_a_copy_of_allowed_rows(request, data, trained):
    """A fifth of the rows of an IVF are copied out for a batch, into a single list, and scanned as flat rows are."""
    rows, queries = request.getfixturevalue(data)
    index = bebr.IVFIndex(trained, nlist=16)
    index.add(np.concatenate([rows, *[-rows] * 4]))
    allow = np.arange(ROWS)
    some = index.search(queries, K, allow=allow)
    all_dims = index.search(queries, K, allow=allow, nprobe=16, margin="exact")
    assert (some.ids == all_dims.ids).mean() > 0.998


def test_nothing_is_lost_where_queries_take_a_tile_more(steep):
    """Rounding would leave twenty times the rows undecided (tests/cpp/tile_choice_test.cpp)."""
    rows, queries, model = steep
    some, all_dims = found(model, (rows, queries))
    assert (some.ids == all_dims.ids).mean() > 0.998
    index = bebr.IVFIndex(model, nlist=64)
    index.add(rows)
    for nprobe in (8, 56):
        some = index.search(queries, K, nprobe=nprobe)
        all_dims = index.search(queries, K, nprobe=nprobe, margin="exact")
        assert (some.ids == all_dims.ids).mean() > 0.998


def test_rows_above_a_radius_are_all_found(spread, trained):
    rows, queries = spread
    index = bebr.FlatIndex(trained)
    index.add(rows)
    some, all_dims = index.search(queries, K, radius=0.3), index.search(queries, K, radius=0.3, exact=True)
    assert (some.ids == all_dims.ids).mean() > 0.998
