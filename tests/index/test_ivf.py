"""IVFIndex against FlatIndex over the same codes: with every list looked at, the two must agree to the bit."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import bebr
from tests.conftest import clustered, model_of, recall

LISTS = 20


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def trained(request, vectors):
    metric = request.param
    scale = 1 if metric == "cosine" else np.linspace(0.5, 3, len(vectors), dtype=np.float32)[:, None]
    x = vectors * scale
    return model_of(x, widths=[48, 24, 8], metric=metric), x


def built(bz: bebr.Binarizer, x: np.ndarray, nlist: int = LISTS, ids=None) -> bebr.IVFIndex:
    index = bebr.IVFIndex(bz, nlist=nlist, seed=0)
    index.add(x, ids)
    return index


def flat(bz: bebr.Binarizer, x: np.ndarray, ids=None) -> bebr.FlatIndex:
    index = bebr.FlatIndex(bz)
    index.add(x, ids)
    return index


def same(a: bebr.Hits, b: bebr.Hits) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("query", ["float", "code"])
@pytest.mark.parametrize("nlist", [1, LISTS])
def test_every_list_exactly_is_the_flat_index(trained, queries, query, nlist):
    bz, x = trained
    ids = np.random.default_rng(0).permutation(10 * len(x))[: len(x)]
    hits = built(bz, x, nlist, ids).search(queries, 10, query=query, nprobe=nlist, margin="exact")
    same(hits, flat(bz, x, ids).search(queries, 10, query=query, exact=True))


def test_one_query_at_a_time_is_the_batch(trained, queries):
    bz, x = trained
    index = built(bz, x)
    for margin in (None, "exact"):
        batch = index.search(queries, 10, nprobe=6, margin=margin)
        single = [index.search(q, 10, nprobe=6, margin=margin).ids[0] for q in queries]
        # By margin, rows are ruled out by what has been found so far, which depends on the rest of the batch.
        assert (batch.ids == single).mean() > (0.97 if margin is None else 0.9999)


def test_threads_do_not_change_an_exact_answer(trained, queries):
    bz, x = trained
    index = built(bz, x)
    before = bebr.get_num_threads()
    try:
        bebr.set_num_threads(1)
        one = index.search(queries, 10, nprobe=5, margin="exact")
        bebr.set_num_threads(3)
        same(one, index.search(queries, 10, nprobe=5, margin="exact"))
    finally:
        bebr.set_num_threads(before)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_threads_share_the_rows_of_long_lists(vectors, queries, share):
    """By whole codes, where the machine has a fast way, each takes pieces of 2,048 rows."""
    bz = model_of(vectors, widths=[48, 24, 8], metric="cosine")
    x = np.tile(vectors, (5, 1))
    index = built(bz, x, nlist=2)
    allowed = None if share == 1 else np.sort(np.random.default_rng(9).permutation(len(x))[: int(share * len(x))])
    wanted = flat(bz, x).search(queries, 10, exact=True, allow=allowed)
    before = bebr.get_num_threads()
    try:
        for threads in (1, 3):
            bebr.set_num_threads(threads)
            same(index.search(queries, 10, nprobe=2, margin="exact", allow=allowed), wanted)
    finally:
        bebr.set_num_threads(before)


def test_the_measured_margin_loses_little(trained, queries):
    bz, x = trained
    index = built(bz, x)
    exact = index.search(queries, 10, nprobe=LISTS, margin="exact")
    assert recall(index.search(queries, 10, nprobe=LISTS).ids, exact.ids) > 0.97


def test_more_probes_find_more(trained, queries):
    bz, x = trained
    index = built(bz, x)
    truth = index.search(queries, 10, nprobe=LISTS, margin="exact").ids
    found = [recall(index.search(queries, 10, nprobe=p, margin="exact").ids, truth) for p in (1, 2, 4, 8, LISTS)]
    assert found == sorted(found) and found[0] > 0.2 and found[2] > 0.6 and found[-1] == 1


def test_calibration_reaches_its_target(trained, queries, tmp_path):
    bz, x = trained
    index = built(bz, x)
    more = clustered(100, 64, seed=77)
    reached = index.calibrate(more, 0.9)
    truth = index.search(more, 10, nprobe=LISTS, margin="exact").ids
    single = np.concatenate([index.search(q, 10).ids for q in more])
    assert reached == pytest.approx(recall(single, truth), abs=1e-6) and reached >= 0.9
    assert recall(index.search(more, 10).ids, truth) >= reached - 0.005  # in a batch no less is found
    assert recall(index.search(queries, 10).ids, index.search(queries, 10, nprobe=LISTS, margin="exact").ids) > 0.82
    index.save(tmp_path / "x.bebr")
    again = bebr.open_index(tmp_path / "x.bebr")
    assert (again.nprobe, again.margin) == (index.nprobe, index.margin)
    assert index.calibrate(more, 0.5, truth=truth) >= 0.5 and index.nprobe < again.nprobe
    with pytest.raises(ValueError, match=r"reach 0\.\d+ with every list"):
        index.calibrate(more, 1.0, truth=truth + 1)


def test_fewer_than_k_only_where_fewer_rows_exist(trained, queries):
    bz, x = trained
    index = built(bz, x)
    for k in (200, len(x), len(x) + 5):
        hits = index.search(queries[:3], k, nprobe=1)
        assert ((hits.ids >= 0).sum(axis=1) == min(k, len(x))).all()
    assert np.isinf(hits.scores[:, len(x) :]).all()


@pytest.mark.parametrize("margin", [None, "exact"])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001, 0.0])
def test_allow_gives_the_best_of_the_allowed(trained, queries, share, margin):
    bz, x = trained
    index = built(bz, x)
    allowed = np.random.default_rng(3).permutation(len(x))[: int(share * len(x))]
    hits = index.search(queries, 10, nprobe=1, margin=margin, allow=np.append(allowed, [10**9]))
    found = min(10, len(allowed))
    assert np.isin(hits.ids[:, :found], allowed).all() and (hits.ids[:, found:] == -1).all()
    if margin == "exact":
        every = index.search(queries, 10, nprobe=LISTS, margin=margin, allow=allowed)
        same(every, flat(bz, x).search(queries, 10, exact=True, allow=allowed))


def test_a_filter_costs_no_recall(trained, queries):
    bz, x = trained
    index = built(bz, x)
    for share in (1.0, 0.5, 0.1, 0.01):
        allowed = np.random.default_rng(5).permutation(len(x))[: int(share * len(x))]
        truth = index.search(queries, 10, nprobe=LISTS, margin="exact", allow=allowed)
        found = recall(index.search(queries, 10, nprobe=6, allow=allowed).ids, truth.ids)
        if share == 1:
            unfiltered = found
        assert found >= unfiltered - 0.03


def test_range_search_finds_all_within_the_radius(trained, queries):
    bz, x = trained
    index = built(bz, x)
    whole = flat(bz, x).search(queries, len(x), exact=True)
    radius = float(np.median(whole.scores[:, 25]))
    inside = whole.scores <= radius if bz.metric == "l2" else whole.scores >= radius
    found = index.search_range(queries, radius, nprobe=LISTS, margin="exact")
    assert found.offsets.tolist() == np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).tolist()
    np.testing.assert_array_equal(found.ids, whole.ids[inside])
    np.testing.assert_allclose(found.scores, whole.scores[inside], rtol=1e-6)
    some = index.search(queries, 10, nprobe=LISTS, margin="exact", radius=radius)
    assert ((some.ids >= 0).sum(axis=1) == np.minimum(10, inside.sum(axis=1))).all()
    # Every index offers it.
    scanned = flat(bz, x)
    for a, b in zip(scanned.search_range(queries, radius), found, strict=True):
        np.testing.assert_array_equal(a, b)
    same(scanned.search(queries, 10, exact=True, radius=radius), some)
    graph = bebr.GraphIndex(bz)
    graph.add(x)
    walked = graph.search_range(queries, radius, ef_search=300)
    assert len(np.intersect1d(walked.ids, found.ids)) > 0.97 * len(np.unique(found.ids))
    assert (walked.scores <= radius).all() if bz.metric == "l2" else (walked.scores >= radius).all()
    assert walked.offsets[-1] == len(walked.ids) == pytest.approx(len(found.ids), rel=0.03)


@pytest.mark.parametrize("nprobe", [1, 4, LISTS])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
def test_range_search_of_allowed_rows_looks_at_as_many_lists(trained, queries, nprobe, share):
    """A filter takes results away; it adds none from lists that were not to be looked at."""
    bz, x = trained
    index = built(bz, x)
    radius = float(np.median(index.search(queries, 25).scores[:, -1]))
    allowed = np.random.default_rng(1).permutation(len(x))[: int(share * len(x))]
    every = index.search_range(queries, radius, nprobe=nprobe, margin="exact")
    found = index.search_range(queries, radius, nprobe=nprobe, margin="exact", allow=allowed)
    wanted = np.isin(every.ids, allowed)
    np.testing.assert_array_equal(found.ids, every.ids[wanted])
    np.testing.assert_array_equal(found.scores, every.scores[wanted])
    counts = np.add.reduceat(np.append(wanted, 0), every.offsets[:-1]) * (np.diff(every.offsets) > 0)
    np.testing.assert_array_equal(np.diff(found.offsets), counts)


@pytest.mark.parametrize("mmap", [False, True])
def test_save_and_open(trained, queries, tmp_path, mmap):
    bz, x = trained
    index = built(bz, x, ids=np.arange(len(x)) * 3 + 1)
    index.nprobe = 7
    path = tmp_path / "x.bebr"
    index.save(path)
    again = bebr.open_index(path, mmap=mmap, verify=True)
    assert isinstance(again, bebr.IVFIndex) and again.nprobe == 7 and again.nlist == LISTS
    assert len(again) == len(x) and again.binarizer.digest == bz.digest and 4 in again and 3 not in again
    same(index.search(queries, 10), again.search(queries, 10))
    if mmap:
        with pytest.raises(ValueError, match="mmap=False"):
            again.add(x[:1])
    else:
        again.add(x[:1])
        assert 3 * len(x) - 1 in again
    assert again.remove(np.arange(100)) == 33
    assert 4 not in again
    assert not np.isin(again.search(queries, 50, nprobe=LISTS).ids, np.arange(100)).any()
    some = again.search(queries, 50, nprobe=LISTS, allow=np.arange(0, 400))
    assert some.ids.max() < 400 and some.ids[some.ids >= 0].min() >= 100
    rows = len(again)
    again.save(path)
    last = bebr.open_index(path)
    assert len(last) == rows and sum(last.list_sizes) == rows


def test_damaged_files_are_refused(trained, tmp_path):
    bz, x = trained
    index = built(bz, x[:200], nlist=4)
    path = tmp_path / "x.bebr"
    index.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in [0, 47, 48, 300, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(bebr.CorruptFile, match=str(path)):
            bebr.open_index(path)
    for at in [*range(48), *rng.integers(0, len(whole), 100)]:
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            bebr.open_index(path, verify=True)
        except bebr.CorruptFile as e:
            assert str(path) in str(e)
        else:
            assert at > 48  # padding between sections is not covered, and holds nothing


def test_lists_are_balanced_and_repeatable(vectors):
    bz = model_of(vectors, widths=[32])
    sizes = [built(bz, vectors, nlist=40).list_sizes for _ in range(2)]
    assert sizes[0] == sizes[1] and sum(sizes[0]) == len(vectors)
    assert max(sizes[0]) < 4 * np.mean(sizes[0]) and min(sizes[0]) > 0


def test_many_lists_are_looked_at_through_groups(vectors, queries):
    """More than 4,096 centroids: the nearest are found through groups, nearly always."""
    x = np.vstack([vectors, clustered(5000, 64, seed=3)])
    bz = model_of(vectors, widths=[64, 64])
    index = built(bz, x, nlist=5000)
    every = index.search(queries, 10, nprobe=5000, margin="exact")
    same(every, flat(bz, x).search(queries, 10, exact=True))
    assert recall(index.search(queries, 10, nprobe=1500, margin="exact").ids, every.ids) > 0.95


def bad_calls():
    yield "nprobe of zero", lambda ix, x: ix.search(x, 1, nprobe=0), "nprobe is 0: want None or an integer from 1 to 3"
    yield "too large an nprobe", lambda ix, x: ix.search(x, 1, nprobe=4), "nprobe is 4"
    yield "margin below zero", lambda ix, x: ix.search(x, 1, margin=-1), "margin is -1"
    yield "margin of text", lambda ix, x: ix.search(x, 1, margin="all"), "margin is 'all'"
    yield "target", lambda ix, x: ix.calibrate(x, 1.5, 3), "target_recall is 1.5"
    yield "truth", lambda ix, x: ix.calibrate(x, 0.9, 3, truth=[1, 2]), r"truth has shape \(2,\): want \(10, 3"
    yield "truth", lambda ix, x: ix.calibrate(x, 0.9, 3, truth=[[1]]), r"truth has shape \(1, 1\): want \(10, 3"
    yield "radius", lambda ix, x: ix.search(x, 1, radius=np.nan), "radius is nan"
    yield "range", lambda ix, x: ix.search_range(x, "near"), "radius is 'near'"
    yield "k", lambda ix, x: ix.search(x, 0), "k is 0"
    yield "no id", lambda ix, x: ix.search_ids([]), "ids is empty"
    yield "present id", lambda ix, x: ix.add(x[:1], [0]), "0 is already present"
    yield "repeated id", lambda ix, x: ix.add(x[:2], [30, 30]), "30 is already present"
    yield "ids below zero", lambda ix, x: ix.add(x[:1], [-5]), "-5"
    yield "wrong dimension", lambda ix, x: ix.add(x[:, :5]), r"\(10, 5\): want \(n, 64\)"
    yield "nlist", lambda ix, x: bebr.IVFIndex(ix.binarizer, nlist=0), "nlist is 0"
    yield "few vectors", lambda ix, x: bebr.IVFIndex(ix.binarizer, nlist=64).add(x), "10 vectors for 64 lists"
    yield "trained twice", lambda ix, x: ix.train(x), "has its centroids already"
    yield "nothing to save", lambda ix, x: bebr.IVFIndex(ix.binarizer).save("x"), "no centroids yet"


@pytest.mark.parametrize(("call", "message"), [pytest.param(c, m, id=n) for n, c, m in bad_calls()])
def test_bad_input_names_what_was_wrong(trained, call, message):
    bz, x = trained
    index = built(bz, x[:10], nlist=3)
    with pytest.raises(ValueError, match=message):
        call(index, x[:10])
    assert len(index) == 10


def test_nprobe_and_margin_are_set_and_kept(trained, tmp_path):
    bz, x = trained
    index = built(bz, x)
    index.nprobe, index.margin = 3, 2.5
    index.save(tmp_path / "x.bebr")
    mapped = bebr.open_index(tmp_path / "x.bebr")
    mapped.nprobe = 4
    for again, nprobe in ((copy.copy(index), 3), (pickle.loads(pickle.dumps(mapped)), 4)):
        assert (again.nprobe, again.margin) == (nprobe, 2.5)
    for bad in ("exact", -1.0, float("nan"), None):
        with pytest.raises(ValueError, match=f"margin is {bad!r}"):
            index.margin = bad
    with pytest.raises(AttributeError, match=r"no attribute 'nprob': .* nprobe.*; margin and nprobe can be set"):
        index.nprob = 3


def test_an_untrained_index_is_copied(trained):
    bz, x = trained
    again = pickle.loads(pickle.dumps(bebr.IVFIndex(bz, nlist=5, seed=3, rescore="int8")))
    assert again.nlist == 5 and again.raw_type == "int8" and len(again) == 0
    want = bebr.IVFIndex(bz, nlist=5, seed=3, rescore="int8")
    again.add(x[:50])
    want.add(x[:50])
    assert again.list_sizes == want.list_sizes


def test_a_filter_that_goes_with_where_rows_lie_loses_no_recall(vectors, queries):
    """Few of such rows, or all, lie near a query: lists are looked at until enough of them have been seen."""
    bz = bebr.untrained(64, 34)
    ivf, flat = bebr.IVFIndex(bz, 64), bebr.FlatIndex(bz)
    ivf.add(vectors)
    flat.add(vectors)

    def found(allow=None) -> float:
        return recall(
            ivf.search(queries, 10, nprobe=6, allow=allow).ids, flat.search(queries, 10, exact=True, allow=allow).ids
        )

    along = np.argsort(vectors @ queries[0])
    for share in (0.5, 0.2, 0.05):
        few = int(share * len(vectors))
        for allow in (along[:few], along[-few:], along[few : 2 * few], along[:: round(1 / share)]):
            assert found(allow) > found() - 0.02
    one_by_one = [ivf.search(q, 10, nprobe=6, allow=along[:1500]).ids[0].tolist() for q in queries]
    allowed = np.sort(along[:1500])
    batch = ivf.search_prepared(bz.prepare(queries), 10, nprobe=6, allow=allowed, batch_invariant=True).ids
    assert batch.tolist() == one_by_one


def test_queries_far_from_all_that_a_filter_allows_lose_no_recall():
    """Their nearest lists hold few allowed rows; the nearest of these lie in more lists than those of other queries."""
    x, pool = clustered(12_000, 64), clustered(3000, 64, seed=9)
    ivf = bebr.IVFIndex(bebr.untrained(64, 26), 128)
    ivf.train(x)
    ivf.add(x)
    along, far = np.argsort(-(x @ x[0])), pool[np.argsort(-(pool @ x[0]))[-200:]]

    def found(nprobe: int, allow=None) -> float:
        scan = ivf.search(far, 10, nprobe=128, allow=allow).ids
        return recall(ivf.search(far, 10, nprobe=nprobe, allow=allow).ids, scan)

    for nprobe in (6, 8):
        for share in (0.5, 0.3, 0.1):
            allow = np.sort(along[: int(share * len(x))])
            assert found(nprobe, allow) > found(nprobe) - 0.03


@pytest.mark.skipif(
    bebr.info()["isa"] not in ("avx2", "avxvnni", "avx512", "amx", "neon_dot", "neon_i8mm"),
    reason="this instruction set does not score whole codes",
)
def test_a_batch_that_looks_at_few_rows_loses_nothing_to_a_margin(trained, queries):
    """Two visitors a list: whole codes are scored all the same, for few bytes of them are expanded a query."""
    bz, x = trained
    index = built(bz, x)
    few = queries[:20]
    exact = index.search(few, 10, nprobe=2, margin="exact")
    assert recall(index.search(few, 10, nprobe=2, margin=0.0).ids, exact.ids) > 0.999
    alone = np.concatenate([index.search(q, 10, nprobe=2, margin=0.0).ids for q in few])
    assert recall(alone, exact.ids) < 0.95
