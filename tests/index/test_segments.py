"""One search over several segments: answers do not depend on how rows are divided, removed rows are not found."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import bebr
from bebr.errors import Cancelled
from bebr.index.segments import Effort, SegmentView, StopFlag, TailRows, search_segments
from tests.conftest import clustered, model_of

N, D = 1500, 32


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return clustered(N, D, seed=3)


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def bz(request, x) -> bebr.Binarizer:
    return model_of(x, widths=[32, 16], metric=request.param)


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    return np.random.default_rng(0).permutation(10 * N)[:N]


def bitmap(rows: np.ndarray) -> np.ndarray:
    """uint64[ceil(n / 64)] of bool[n]."""
    bits = np.zeros(-(-len(rows) // 64) * 64, np.bool_)
    bits[: len(rows)] = rows
    return np.packbits(bits, bitorder="little").view(np.uint64)


def flat(bz, codes, ids) -> bebr.FlatIndex:
    index = bebr.FlatIndex(bz)
    index.add_codes(codes, ids)
    return index


def divided(bz, codes, ids, dead, cuts, tmp_path) -> list[SegmentView]:
    """Segments from each of ``cuts`` on: mapped files and, as the last one, the frozen rows of a tail."""
    views = []
    for n, (first, last) in enumerate(zip(cuts, [*cuts[1:], len(ids)], strict=True)):
        part = slice(first, last)
        if last == len(ids):
            tail = TailRows(bz)
            for at in range(first, last, 37):
                tail.append(codes[at : min(at + 37, last)], ids[at : min(at + 37, last)])
            index = tail.freeze()
        else:
            flat(bz, codes[part], ids[part]).save(tmp_path / f"{n}.bebr")
            index = bebr.open_index(tmp_path / f"{n}.bebr")
        views.append(SegmentView(index, bitmap(dead[part])))
    return views


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"oversampling": 2}], ids=str)
@pytest.mark.parametrize("share", [None, 0.4, 0.01])
def test_answers_do_not_depend_on_how_rows_are_divided(bz, x, ids, queries, tmp_path, options, share):
    rng = np.random.default_rng(1)
    codes, q = bz.encode(x), bz.prepare(queries[:, :D])
    dead = rng.random(N) < 0.3
    allow = None if share is None else rng.permutation(ids)[: int(share * N)]
    whole = flat(bz, codes[~dead], ids[~dead])
    want = search_segments([SegmentView(whole)], bz, q, 10, allow=allow, **options)
    for round in range(3):
        cuts = sorted({0, *rng.integers(0, N, 4).tolist()})
        folder = tmp_path / str(round)
        folder.mkdir()
        views = divided(bz, codes, ids, dead, cuts, folder)
        got = search_segments(views, bz, q, 10, allow=allow, **options)
        np.testing.assert_array_equal(got.ids, want.ids)
        np.testing.assert_array_equal(got.scores, want.scores)
        assert sum(view.live for view in views) == N - dead.sum()
    assert not np.isin(want.ids, ids[dead]).any()
    if allow is not None:
        assert np.isin(want.ids[want.ids >= 0], allow).all()


def test_one_segment_gives_the_answers_of_its_index(bz, x, ids, queries):
    index, q = flat(bz, bz.encode(x), ids), bz.prepare(queries[:, :D])
    for options in ({"exact": True}, {"oversampling": 3}):
        want = index.search_prepared(q, 7, **options)
        got = search_segments([SegmentView(index)], bz, q, 7, **options)
        np.testing.assert_array_equal(got.ids, want.ids)
        np.testing.assert_array_equal(got.scores, want.scores)


@pytest.fixture
def kinds(bz, x, ids, tmp_path) -> list[SegmentView]:
    """A segment of each kind, half of its rows removed, and a mapped one of the last two kinds."""
    views, rng = [], np.random.default_rng(5)
    made = [bebr.FlatIndex(bz), bebr.IVFIndex(bz, nlist=12), bebr.GraphIndex(bz, 8), bebr.IVFIndex(bz, nlist=7)]
    for index, rows in zip(made, np.array_split(np.arange(N), 4), strict=True):
        index.add(x[rows], ids[rows])
        if index is not made[0]:
            index.save(tmp_path / f"{len(views)}.bebr")
            index = bebr.open_index(tmp_path / f"{len(views)}.bebr")
        views.append(SegmentView(index, bitmap(rng.random(len(rows)) < 0.5)))
    return views


def live_ids(view: SegmentView) -> np.ndarray:
    rows = np.unpackbits(view.dead.view(np.uint8), bitorder="little")[: len(view.index.ids)]
    return view.index.ids[rows == 0]


@pytest.mark.parametrize("share", [None, 0.4, 0.02])
def test_segments_of_all_kinds_are_searched_together(bz, ids, queries, kinds, share):
    q = bz.prepare(queries[:, :D])
    allow = None if share is None else np.random.default_rng(6).permutation(ids)[: int(share * N)]
    got = search_segments(kinds, bz, q, 10, exact=True, allow=allow)
    parts = [search_segments([view], bz, q, 10, exact=True, allow=allow) for view in kinds]
    sign = 1 if bz.metric == "l2" else -1
    scores, numbers = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    best = np.stack([np.lexsort((numbers[i], sign * scores[i]))[:10] for i in range(len(scores))])
    np.testing.assert_array_equal(got.ids, np.take_along_axis(numbers, best, axis=1))
    np.testing.assert_array_equal(got.scores, np.take_along_axis(scores, best, axis=1))
    found = got.ids[got.ids >= 0]
    assert np.isin(found, np.concatenate([live_ids(view) for view in kinds])).all()
    assert allow is None or np.isin(found, allow).all()
    near = search_segments(kinds, bz, q, 10, allow=allow)  # lists looked at and walks lose little
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(near.ids, got.ids, strict=True)]) > 0.85
    one = [search_segments(kinds, bz, alone, 10, allow=allow).ids[0] for alone in q]
    np.testing.assert_array_equal(near.ids, one)  # whatever the batch


@pytest.mark.parametrize("share", [None, 0.8])
def test_many_flat_rows_beside_lists_are_scanned_for_what_beats_the_best_of_lists(bz, queries, tmp_path, share):
    """Lists come first then, and answers still depend neither on how the flat rows are divided nor on the batch."""
    n, listed = 7000, 3000
    rng = np.random.default_rng(7)
    x, ids = clustered(n, D, seed=8), rng.permutation(10 * n)[:n]
    dead = rng.random(n) < 0.1
    allow = None if share is None else rng.permutation(ids)[: int(share * n)]
    lists = bebr.IVFIndex(bz, nlist=16)
    lists.add(x[:listed], ids[:listed])
    beside = [SegmentView(lists, bitmap(np.isin(lists.ids, ids[dead])))]
    codes, flat_ids, flat_dead = bz.encode(x[listed:]), ids[listed:], dead[listed:]
    q = bz.prepare(np.concatenate([queries[:, :D], x[listed + 5 : n : 100]]))
    answers = []
    for round, cuts in enumerate([[0], [0, 100, 2500], [0, 1999, 2000, 3960]]):
        folder = tmp_path / str(round)
        folder.mkdir()
        views = beside + divided(bz, codes, flat_ids, flat_dead, cuts, folder)
        answers.append(search_segments(views, bz, q, 10, nprobe=16, allow=allow))
    for got in answers[1:]:
        np.testing.assert_array_equal(got.ids, answers[0].ids)
        np.testing.assert_array_equal(got.scores, answers[0].scores)
    one = [search_segments(views, bz, alone, 10, nprobe=16, allow=allow).ids[0] for alone in q]
    np.testing.assert_array_equal(answers[0].ids, one)
    exact = search_segments(views, bz, q, 10, exact=True, allow=allow)
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(one, exact.ids, strict=True)]) > 0.99
    assert not np.isin(one, ids[dead]).any()
    assert allow is None or np.isin(one, allow).all()


@pytest.mark.parametrize("count", [1, 40])
def test_files_in_the_same_lists_are_searched_as_each_alone(bz, x, queries, tmp_path, count):
    """What one file's centroids were ranked for is taken over by those with the same centroids, and by no others."""
    every = bebr.Binarizer.from_tensors(bz.tensors, bz.config | {"margin": 1e6})  # no row of a list is ruled out
    first, other = (bebr.IVFIndex(every, 8, seed) for seed in (0, 1))
    first.add(x[:500])
    other.add(x[500:1000], np.arange(500, 1000))
    second = first.emptied()
    second.add(x[1000:], np.arange(1000, N))
    opened = []
    for n, index in enumerate((first, second, other)):
        index.save(tmp_path / f"{n}.bebr")
        opened.append(bebr.open_index(tmp_path / f"{n}.bebr"))
    prepared = every.prepare(queries[:count, :D])

    def found(*views: SegmentView) -> list[set[tuple[int, float]]]:
        hits = search_segments(views, every, prepared, 10)
        return [set(zip(*both, strict=True)) for both in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)]

    sign = -1 if bz.metric == "l2" else 1
    for nprobes in ([3, 3, 3], [2, 5, 2], [8, 2, 8]):
        views = [SegmentView(one, effort=Effort(((1, n),))) for one, n in zip(opened, nprobes, strict=True)]
        for together, *each in zip(found(*views), *map(found, views), strict=True):
            best = sorted(set().union(*each), key=lambda hit: (-sign * hit[1], hit[0]))
            assert together == set(best[:10])


def test_positions_of_all_kinds_number_their_ids(ids, kinds):
    for view in kinds:
        assert np.array_equal(view.index.positions(view.index.ids), np.arange(len(view.index.ids)))
        assert view.live == len(live_ids(view)) and np.isin(view.index.ids, ids).all()


def test_radius_and_no_segments(bz, x, ids, queries):
    q = bz.prepare(queries[:, :D])
    hits = search_segments([], bz, q, 3)
    assert hits.ids.shape == (len(queries), 3) and (hits.ids == -1).all()
    views = [SegmentView(flat(bz, bz.encode(x), ids))]
    every = search_segments(views, bz, q, 20, exact=True)
    radius = float(np.median(every.scores))
    some = search_segments(views, bz, q, 20, exact=True, radius=radius)
    inside = every.scores <= radius if bz.metric == "l2" else every.scores >= radius
    np.testing.assert_array_equal(some.ids, np.where(inside, every.ids, -1))


def test_ids_and_positions(bz, x, ids, tmp_path):
    index = flat(bz, bz.encode(x), ids)
    index.save(tmp_path / "x.bebr")
    opened = bebr.open_index(tmp_path / "x.bebr")
    view = opened.ids
    assert view.tolist() == index.ids.tolist() == ids.tolist() and not view.flags.writeable and view.base is not None
    asked = np.append(ids[::-1], [-1, 10 * N, 1 << 60])
    for each in (index, opened):
        assert each.positions(asked).tolist() == [*range(N - 1, -1, -1), -1, -1, -1]
    assert -1 not in opened and -1 not in index and index.remove([-1]) == 0
    opened.remove(ids[:3])
    assert opened.positions(ids[:4]).tolist() == [-1, -1, -1, 3] and view.tolist() == ids.tolist()
    del opened
    gc.collect()
    assert view.sum() == ids.sum()  # the file stays mapped


def test_files_without_an_order_of_ids_open(tmp_path, bz, x, ids):
    index = flat(bz, bz.encode(x), np.sort(ids))
    index.save(tmp_path / "x.bebr")
    assert bebr.open_index(tmp_path / "x.bebr").positions([int(ids[0])])[0] == np.searchsorted(np.sort(ids), ids[0])


def test_a_tail_keeps_the_newest_place_of_an_id(bz, x):
    codes, tail = bz.encode(x[:40]), TailRows(bz)
    tail.append(codes[:20], np.arange(20))
    before = tail.freeze()
    tail.append(codes[20:], np.arange(10, 30))
    assert len(before) == 20 and len(tail) == 40 and len(tail.freeze()) == 40
    assert tail.positions([5, 10, 29, 30]).tolist() == [5, 20, 39, -1]
    assert before.positions([5, 10, 29]).tolist() == [5, 10, -1]
    assert tail.freeze().positions([10]).tolist() == [20]
    np.testing.assert_array_equal(tail.freeze().codes([10])[0].planes, codes[20:21].planes)
    for wrong in (lambda: before.add(x[:1]), lambda: tail.append(codes[:1], [-1]), lambda: tail.append(codes[:2], [1])):
        with pytest.raises(ValueError, match=r"frozen|ids\[0\] is -1|ids has 1 entries"):
            wrong()
    assert len(tail) == 40


def test_a_search_is_stopped_from_another_thread(bz, x, ids, queries):
    views, stop = [SegmentView(flat(bz, bz.encode(x), ids))], StopFlag()
    q = bz.prepare(queries[:, :D])
    search_segments(views, bz, q, 3, stop=stop)
    threading.Thread(target=stop.set).start()
    with pytest.raises(Cancelled, match="stopped"):
        while True:
            search_segments(views, bz, q, 3, stop=stop)


def test_what_a_search_did_is_counted(bz, x, ids, queries):
    """A row once for each query: all in a flat file, those of the lists that are looked at, those that a walk meets."""
    codes, q = bz.encode(x), bz.prepare(queries[:3, :D])
    lists = bebr.IVFIndex(bz, nlist=8)
    lists.train(x)
    lists.add(x, ids)
    graph = bebr.GraphIndex(bz, max_degree=8)
    graph.add_codes(codes, ids)

    def did(index: bebr.FlatIndex | bebr.IVFIndex | bebr.GraphIndex, q=q, **how) -> tuple[int, int]:
        stop = StopFlag()
        search_segments([SegmentView(index)], bz, q, 3, stop=stop, **how)
        return stop.scanned, stop.survivors

    every, few, whole = 3 * N, ids[[3, 700, 900, 1400]], flat(bz, codes, ids)
    scanned, survivors = did(whole)
    assert scanned == every and 3 * 3 <= survivors < every
    assert did(whole, allow=few) == (3 * 4, 3 * 4)  # too few for a first stage
    assert did(whole, exact=True)[0] == every
    one, all_of_them = did(lists, nprobe=1), did(lists, nprobe=8)
    assert 3 * 3 <= one[1] <= one[0] < all_of_them[0] == every and one[1] <= all_of_them[1]
    assert did(lists, exact=True)[0] == every
    many = bz.prepare(queries[:40, :D])  # enough for a scan of whole codes
    for index in (whole, lists):
        scanned, survivors = did(index, many, exact=True)
        assert scanned == 40 * N and 40 * 3 <= survivors < 40 * N
    scanned, survivors = did(graph, ef_search=8)
    assert 3 * 3 <= survivors <= scanned
    assert did(graph, exact=True) == (every, every)


def test_what_cannot_be_searched_is_refused(bz, x, ids, queries):
    index, q = flat(bz, bz.encode(x), ids), bz.prepare(queries[:, :D])
    other = model_of(x, widths=[24], metric=bz.metric)
    more = [SegmentView(index), SegmentView(flat(other, other.encode(x), ids))]
    for wrong, message in [
        (lambda: search_segments([SegmentView(index)], bz, q, 0), "k is 0"),
        (lambda: search_segments([SegmentView(index)], bz, q, 3, oversampling=0), "oversampling is 0"),
        (lambda: search_segments([SegmentView(index, np.zeros(3, np.uint64))], bz, q, 3), "dead has 3 words"),
        (lambda: search_segments(more, bz, q, 3), "different formats"),
    ]:
        with pytest.raises(ValueError, match=message):
            wrong()


def test_lists_of_other_models_are_refused():
    """Codes of equal shape, centroids of different dimensions: queries have vectors for one of them only."""
    views = []
    for dim in (32, 16):
        x = clustered(400, dim, seed=dim)
        bz = model_of(x, widths=[16, 16], metric="ip", factor_bytes=4)
        index = bebr.IVFIndex(bz, nlist=4)
        index.add(x)
        views.append(SegmentView(index))
    with pytest.raises(ValueError, match="centroids of 32 and of 16 dimensions"):
        search_segments(views, bz, bz.prepare(x[:3]), 5)
