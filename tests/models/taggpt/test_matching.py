"""Range search, top-k and merging: floats and rescored codes against plain loops, and what codes alone may lose."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import bebr
from bebr.models.taggpt import Coded, Exact
from bebr.models.taggpt.matching import groups

_spec = importlib.util.spec_from_file_location("taggpt_reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

DIMS, RADIUS = 16, 0.9


def clustered(seed: int, count: int, spread: float = 0.2, dims: int = DIMS) -> np.ndarray:
    """Vectors around a third as many centres, of any length."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, count // 3), dims))
    x = centres[random.integers(0, len(centres), count)] + spread * random.standard_normal((count, dims))
    return (x * random.uniform(0.5, 3, (count, 1))).astype(np.float32)


def clear(x: np.ndarray, queries: np.ndarray, margin: float) -> bool:
    """Whether no cosine is so near to the radius that a rounding could decide."""
    cosines = np.array([[reference.cosine(q, row) for row in x] for q in queries])
    return bool((np.abs(cosines - RADIUS) > margin).all())


# float16 keeps eleven bits of each number, so a cosine is good to some 1e-3
MATCHINGS = [(Exact(), 1e-5), (Coded(8), 2e-3), (Coded(8, nlist=3, nprobe=3), 2e-3)]


@pytest.mark.parametrize(("matching", "margin"), MATCHINGS, ids=["exact", "codes, rescored", "lists, rescored"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 40))
def test_merging_is_that_of_the_plain_loops(matching, margin, seed, count):
    x = clustered(seed, count)
    assume(clear(x, x, margin))
    found = groups(matching.over(x), x, RADIUS)
    assert found == reference.groups(x, RADIUS)
    assert sorted(row for group in found for row in group) == list(range(count))  # each in one group


@pytest.mark.parametrize(("matching", "margin"), MATCHINGS, ids=["exact", "codes, rescored", "lists, rescored"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_searches_find_what_the_plain_loops_find(matching, margin, seed):
    x = clustered(seed, 60)
    queries = x[:7] + 0.1 * np.random.default_rng(seed).standard_normal((7, DIMS)).astype(np.float32)
    assume(clear(x, queries, margin))
    searched = matching.over(x)
    offsets, scores, ids = searched.within(queries, RADIUS)
    assert len(offsets) == 8 and offsets[-1] == len(ids) == len(scores)
    best, nearest = searched.nearest(queries, 5)
    for place, query in enumerate(queries):
        cosines = np.array([reference.cosine(query, row) for row in x])
        part = slice(offsets[place], offsets[place + 1])
        assert set(ids[part].tolist()) == set(np.flatnonzero(cosines >= RADIUS).tolist())
        assert (np.diff(scores[part]) <= 0).all()
        np.testing.assert_allclose(scores[part], cosines[ids[part]], atol=2e-3)
        np.testing.assert_allclose(best[place], np.sort(cosines)[::-1][:5], atol=2e-3)
        np.testing.assert_allclose(cosines[nearest[place]], best[place], atol=2e-3)


def test_a_crowd_within_the_radius_is_found_whole():
    x = clustered(0, 300, spread=0.0)[:1].repeat(300, 0)  # deeper than the first search goes
    assert np.diff(Coded(8).over(np.vstack([x, -x])).within(x[:2], RADIUS).offsets).tolist() == [300, 300]
    assert len(groups(Coded(8).over(x), x, RADIUS)) == 1


def test_more_bytes_come_nearer_to_the_floats():
    x = clustered(3, 600, spread=0.4, dims=64)
    truth = Exact().over(x).within(x, RADIUS)
    wanted = set(zip(np.repeat(np.arange(600), np.diff(truth.offsets)), truth.ids, strict=True))
    shares = []
    for size in (8, 24, 48):
        near = Coded(size, rescore=None).over(x).within(x, RADIUS)
        found = set(zip(np.repeat(np.arange(600), np.diff(near.offsets)), near.ids, strict=True))
        shares.append(len(found & wanted) / len(found | wanted))
    assert shares[0] < shares[1] < shares[2] and shares[2] > 0.9


def test_few_and_no_rows():
    x = clustered(1, 3)
    for matching in (Exact(), Coded(8), Coded(8, rescore=None)):
        searched = matching.over(x)
        assert searched.nearest(x[:1], 10)[1].shape == (1, 3)  # no more than there are
        none = np.zeros((0, DIMS), np.float32)
        assert searched.within(none, 0.5).offsets.tolist() == [0] and searched.nearest(none, 2)[1].shape == (0, 2)
        with pytest.raises(ValueError, match="k: got 0"):
            searched.nearest(x, 0)
    assert groups(Exact().over(x[:0]), x[:0], RADIUS) == []


def test_a_binarizer_that_does_not_fit_is_refused():
    x = clustered(2, 50)
    for matching in (Coded(8), Coded(binarizer=bebr.untrained(16, 8))):  # one row needs no training
        assert matching.over(x[:1]).nearest(x[:1], 1)[1].tolist() == [[0]]
    for model, told in (
        (bebr.untrained(16, 8, metric="l2"), "got one for l2, 16 dims, wanted cosine, 16 dims"),
        (bebr.untrained(8, 4), "got one for cosine, 8 dims"),
    ):
        with pytest.raises(ValueError, match=f"binarizer: {told}"):
            Coded(binarizer=model).over(x)
