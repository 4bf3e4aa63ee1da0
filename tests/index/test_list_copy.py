"""Some rows of an index in lists, copied to the same lists."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.index.segments import ListRows, SegmentView, search_segments
from bebr.store.files import bitmaps


@pytest.fixture(scope="module")
def opened(tmp_path_factory, vectors):
    bz = bebr.untrained(64, 26)
    ivf = bebr.IVFIndex(bz, 64)
    ivf.train(vectors)
    ivf.add(vectors)
    path = tmp_path_factory.mktemp("copy") / "a.bebr"
    ivf.save(path)
    return bebr.open_index(path, mmap=True)


def grown(index, rows, at_once):
    wanted = bitmaps.resized(None, 3000)
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
