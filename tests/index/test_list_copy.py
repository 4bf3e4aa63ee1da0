"""Some rows of an index in lists, copied to the same lists."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr._core import ListCopy
from bebr.index.segments import ListRows, SegmentView, search_segments
from bebr.store.files import bitmaps
from tests.conftest import model_of


@pytest.fixture(scope="module")
def opened(tmp_path_factory, vectors):
    bz = bebr.untrained(64, 26)
    ivf = bebr.IVFIndex(bz, 64)
    ivf.train(vectors)
    ivf.add(vectors)
    path = tmp_path_factory.mktemp("copy") / "a.bebr"
    ivf.save(path)
    return bebr.open_index(path, mmap=True)


def grown(index, rows, at_once, of=3000):
    wanted = bitmaps.resized(None, of)
    bitmaps.add(wanted, rows)
    some = ListRows(index, wanted)
    for _ in range(len(rows) + 1):
        if (whole := some.grow(at_once)) is not None:
            return whole
    raise AssertionError("it never ended")


@pytest.mark.parametrize("at_once", [1, 100, 10_000])
@pytest.mark.parametrize("rows", [np.arange(0, 3000, 7), np.arange(1000), np.array([2999])], ids=len)
def test_the_rows_are_the_same(opened, rows, at_once):
    copy = grown(opened, rows, at_once)
    assert copy.ids.tolist() == opened.ids[rows].tolist()
    for one, other in zip(copy.codes(copy.ids), opened.codes(copy.ids), strict=True):
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_array_equal(one.planes, other.planes)
            np.testing.assert_array_equal(one.factors, other.factors)
    sizes = np.bincount(np.searchsorted(np.cumsum(opened.list_sizes), rows, side="right"), minlength=64)
    assert copy.list_sizes == sizes.tolist()


def test_a_search_of_all_lists_finds_what_a_filter_does(opened, queries):
    rows = np.sort(np.random.default_rng(3).permutation(3000)[:500])
    copy = grown(opened, rows, 64)
    prepared = opened.binarizer.prepare(queries)
    dead = np.zeros(8, np.uint64)
    dead[0] = 0b1011
    left = np.delete(copy.ids, [0, 1, 3])
    hits = search_segments([SegmentView(copy, dead)], opened.binarizer, prepared, 10, exact=True)
    expected = search_segments([SegmentView(opened)], opened.binarizer, prepared, 10, exact=True, allow=left)
    np.testing.assert_array_equal(hits.ids, expected.ids)
    np.testing.assert_array_equal(hits.scores, expected.scores)


def test_a_short_bitmap_is_refused(opened):
    with pytest.raises(ValueError, match="rows has 46 words for 3000 rows: want at least 47"):
        ListRows(opened, np.zeros(46, np.uint64))


def test_an_index_that_may_change_is_refused(opened):
    with pytest.raises(ValueError, match="may change"):
        ListRows(opened.emptied(), np.zeros(47, np.uint64))


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_a_query_far_from_all_rows_begins_with_the_lists_of_the_nearest(metric, tmp_path):
    """3,000 of 12,000 rows, near one of them, and queries on the other side. In lists that are ranked by nothing, as
    many rows have .31 to .39."""
    rng = np.random.default_rng(0)
    middles = rng.standard_normal((40, 64)).astype(np.float32)
    x = (middles[rng.integers(0, 40, 12_000)] + 0.7 * rng.standard_normal((12_000, 64))).astype(np.float32)
    ivf = bebr.IVFIndex(model_of(x, widths=[64, 32], metric=metric), 128)
    ivf.train(x)
    ivf.add(x)
    ivf.save(tmp_path / "a.bebr")
    opened = bebr.open_index(tmp_path / "a.bebr", mmap=True)
    distance = ((x - x[0]) ** 2).sum(axis=1) if metric == "l2" else -(x @ x[0])
    near = np.argsort(distance)[:3000]
    far = x[np.argsort(distance)[-60:]] if metric == "l2" else -x[rng.integers(0, len(x), 60)]
    view = SegmentView(grown(opened, np.flatnonzero(np.isin(opened.ids, near)), 700, len(x)))
    prepared = opened.binarizer.prepare(far)
    found = search_segments([view], opened.binarizer, prepared, 10, nprobe=1).ids
    wanted = search_segments([view], opened.binarizer, prepared, 10, exact=True).ids
    shared = [len(set(one) & set(other)) for one, other in zip(found.tolist(), wanted.tolist(), strict=True)]
    assert np.mean(shared) > 6.5


def test_a_model_of_other_codes_is_refused(opened, vectors):
    copy = ListCopy(opened._engine, np.full(47, ~np.uint64(0)))
    assert copy.grow(3000)
    with pytest.raises(ValueError, match="model has codes of 48 dims"):
        copy.freeze(model_of(vectors, widths=[48]).query_model)
