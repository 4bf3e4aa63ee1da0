"""MaxSimIndex: documents of any number of vectors, against a naive model over decoded codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import bebr
from tests.conftest import model_of

LARGEST = (1 << 46) - 1
METRICS = ("cosine", "ip", "l2")


@pytest.fixture(scope="module")
def models(vectors) -> dict[str, bebr.Binarizer]:
    return {metric: model_of(vectors, widths=[48, 24], metric=metric) for metric in METRICS}


def documents(vectors: np.ndarray, count: int, seed: int = 0) -> list[np.ndarray]:
    """Of 1 to 9 vectors each."""
    random = np.random.default_rng(seed)
    return [vectors[random.integers(0, len(vectors), random.integers(1, 10))] for _ in range(count)]


def similarities(bz: bebr.Binarizer, q: np.ndarray, codes: bebr.Codes) -> np.ndarray:
    """Of every pair, in the metric's own unit, from docs/method.md."""
    decoded, f = bz.decode(codes).astype(np.float64), bz.factor_values(codes)[:, 0].astype(np.float64)
    q = q.astype(np.float64)
    if bz.metric == "l2":
        squared = f / bz.config["factor_scale"] + bz.config["factor_offset"]
        return (q**2).sum(1)[:, None] - 2 * q @ decoded.T + squared
    if bz.metric == "cosine":
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
    return q @ decoded.T * f


def naive(bz: bebr.Binarizer, q: np.ndarray, given: list[np.ndarray]) -> np.ndarray:
    """One document at a time."""
    tables = [similarities(bz, q, bz.encode(one)) for one in given]
    return np.array([(t.min(1) if bz.metric == "l2" else t.max(1)).sum() for t in tables])


@pytest.mark.parametrize("kind", ["flat", "ivf", "graph"])
@pytest.mark.parametrize("metric", METRICS)
def test_a_score_is_the_sum_of_best_similarities(models, vectors, queries, metric, kind):
    bz = models[metric]
    given = documents(vectors, 80)
    made = {
        "flat": lambda: bebr.FlatIndex(bz),
        "ivf": lambda: bebr.IVFIndex(bz, nlist=8),
        "graph": lambda: bebr.GraphIndex(bz),
    }
    index = bebr.MaxSimIndex(made[kind]())
    index.add(given)
    assert (len(index), index.vectors) == (80, sum(map(len, given))) and 79 in index and 80 not in index
    asked = [queries[:1], queries[1:8], queries[8:11]]
    hits = index.search(asked, 10, candidates=index.vectors)
    assert hits.scores.shape == hits.ids.shape == (3, 10)
    assert hits.scores.dtype == np.float32 and hits.ids.dtype == np.int64
    sign = -1 if metric == "l2" else 1
    for row, q in enumerate(asked):
        wanted = naive(bz, q, given)
        tolerance = 2e-3 * np.abs(wanted).max()
        np.testing.assert_allclose(hits.scores[row], wanted[hits.ids[row]], atol=tolerance)
        assert (np.diff(sign * hits.scores[row]) <= 0).all()
        if kind == "flat":  # whoever walks a graph or looks into some lists may miss one
            assert (sign * hits.scores[row]).min() >= np.sort(sign * wanted)[-10] - tolerance


def test_coded_queries_are_scored_as_what_their_codes_stand_for(models, vectors, queries):
    bz = models["cosine"]
    given = documents(vectors, 40)
    index = bebr.MaxSimIndex(bebr.FlatIndex(bz))
    index.add(given)
    hits = index.search(queries[:5], 5, query="code", candidates=index.vectors)
    wanted = naive(bz, bz.decode(bz.encode(queries[:5])), given)
    np.testing.assert_allclose(hits.scores[0], np.sort(wanted)[::-1][:5], atol=2e-3 * np.abs(wanted).max())


def test_few_candidates_find_what_is_near(models, vectors):
    given = documents(vectors, 150)
    index = bebr.MaxSimIndex(bebr.FlatIndex(models["cosine"]))
    index.add(given)
    asked = [one + 0.01 for one in given]
    few, all_ = index.search(asked, 1, candidates=3), index.search(asked, 1, candidates=index.vectors)
    assert (few.ids == all_.ids).mean() > 0.95 and (few.ids[:, 0] == np.arange(150)).mean() > 0.8
    # one candidate of one vector brings at most one document
    assert (index.search([queries := vectors[:1]], 3, candidates=1).ids[0] >= 0).sum() == 1 and len(queries) == 1


def test_one_query_or_several(models, vectors):
    index = bebr.MaxSimIndex(bebr.FlatIndex(models["cosine"]))
    index.add(np.stack([vectors[:4], vectors[4:8], vectors[8:12]]))  # of equal length: one array
    one, more = index.search(vectors[4:8], 2), index.search(vectors[:8].reshape(2, 4, 64), 2)
    assert one.ids[0, 0] == 1 and more.ids[:, 0].tolist() == [0, 1]
    assert np.array_equal(one.scores[0], more.scores[1])
    assert index.search(vectors[:4], 5).ids[0].tolist()[3:] == [-1, -1]
    assert np.isneginf(index.search(vectors[:4], 5).scores[0, 3:]).all()


def test_queries_of_another_model_are_refused_unless_it_knows_these_codes(models, vectors):
    index = bebr.MaxSimIndex(bebr.FlatIndex(models["cosine"]))
    index.add(given := documents(vectors, 10))
    own = bebr.Binarizer.from_bytes(models["cosine"].to_bytes())
    assert np.array_equal(index.search(given, 3, binarizer=own).scores, index.search(given, 3).scores)
    other = model_of(vectors, widths=[48, 24], metric="cosine", seed=1)
    with pytest.raises(bebr.IncompatibleModel):
        index.search(given[0], binarizer=other)


@pytest.mark.parametrize("query", ["float", "code"])
def test_raw_vectors_of_the_index_only_bring_candidates(models, vectors, queries, query):
    plain, raw = (bebr.MaxSimIndex(bebr.FlatIndex(models["ip"], rescore=kind)) for kind in (None, "float16"))
    for index in (plain, raw):
        index.add(documents(vectors, 30))
    found = [index.search(queries[:4], 5, query=query, candidates=index.vectors) for index in (plain, raw)]
    assert np.array_equal(found[0].ids, found[1].ids) and np.array_equal(found[0].scores, found[1].scores)


def test_equal_documents_come_by_their_ids(models, vectors):
    index = bebr.MaxSimIndex(bebr.FlatIndex(models["cosine"]))
    index.add([vectors[:3]] * 4, [9, 2, 7, 4])
    assert index.search(vectors[:3], 4).ids[0].tolist() == [2, 4, 7, 9]
    assert index.search(vectors[:3], 4, allow=[7, 9, 100]).ids[0].tolist() == [7, 9, -1, -1]


def test_saved_and_opened(models, vectors, tmp_path):
    given = documents(vectors, 60)
    index = bebr.MaxSimIndex(bebr.IVFIndex(models["ip"], nlist=4))
    index.add(given, np.arange(60) * 3)
    index.remove([0, 9])
    path = tmp_path / "documents.bebr"
    index.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["documents.bebr"]
    wanted = index.search(given[:5], 7)
    for mmap in (True, False):
        again = bebr.MaxSimIndex.open(path, mmap=mmap)
        found = again.search(given[:5], 7)
        assert len(again) == 58 and 9 not in again and 12 in again
        assert np.array_equal(found.ids, wanted.ids) and np.array_equal(found.scores, wanted.scores)
    again.add([vectors[:2]])  # not mapped: it takes more, under the next number
    assert 178 in again and len(again.codes(178)) == 2
    assert isinstance(bebr.open_index(path), bebr.IVFIndex)  # the file is an index's like any other


def test_a_save_that_fails_leaves_the_old_file(models, vectors, tmp_path):
    index = bebr.MaxSimIndex(bebr.FlatIndex(models["cosine"]))
    index.add([vectors[:3]])
    with pytest.raises(OSError):
        index.save(tmp_path / "none" / "x.bebr")
    path = tmp_path / "x.bebr"
    index.save(path)
    cut = path.read_bytes()[:-40]
    path.write_bytes(cut)
    with pytest.raises(bebr.CorruptFile):
        bebr.MaxSimIndex.open(path, mmap=False)


def test_indexes_of_others_are_refused(models, vectors, tmp_path):
    flat = bebr.FlatIndex(models["cosine"])
    flat.add(vectors[:5])
    with pytest.raises(ValueError, match="index holds rows that are no MaxSimIndex's: want an empty one"):
        bebr.MaxSimIndex(flat)
    flat.save(tmp_path / "flat.bebr")
    with pytest.raises(bebr.CorruptFile, match=r"flat.bebr: index holds rows that are no MaxSimIndex's"):
        bebr.MaxSimIndex.open(tmp_path / "flat.bebr")
    mine = bebr.MaxSimIndex(bebr.FlatIndex(models["cosine"]))
    mine.add([vectors[:3], vectors[3:5]])
    mine.index.remove(mine.index.codes()[1][1:2])  # a hole in a document
    with pytest.raises(ValueError, match="no MaxSimIndex's"):
        bebr.MaxSimIndex(mine.index)
    with pytest.raises(FileNotFoundError):
        bebr.MaxSimIndex.open(tmp_path / "none.bebr")


@pytest.mark.parametrize(
    ("given", "ids", "message"),
    [
        ([np.ones((2, 63))], None, r"documents\[0\] has shape \(2, 63\): want \(n, 64\)"),
        ([np.ones((1, 64)), np.ones(64)], None, r"documents\[1\] has shape \(64,\): want \(v, 64\)"),
        ([np.ones((0, 64))], None, r"documents\[0\] has 0 vectors: want 1 to 65536"),
        ([np.full((1, 64), np.nan)], None, r"documents\[0\]\[0, 0\] is nan: want finite numbers"),
        (np.ones((3, 64)), None, r"documents has shape \(3, 64\): want \(n, v, 64\), or a sequence"),
        ([np.ones((1, 64))] * 2, [5, 5], "ids holds 5, which is repeated"),
        ([np.ones((1, 64))] * 2, [5, 1], "ids holds 1, which is already here"),
        ([np.ones((1, 64))], [-1], r"ids holds -1: want 0 to 2\^46 - 1"),
        ([np.ones((1, 64))], [1 << 46], r"ids holds 70368744177664: want 0 to 2\^46 - 1"),
        ([np.ones((1, 64))], [1, 2], "ids has 2 entries for 1 vectors"),
        ([np.ones((1, 64))], [1.5], "ids has dtype float64"),
    ],
)
def test_documents_that_do_not_fit_change_nothing(models, vectors, given, ids, message):
    index = bebr.MaxSimIndex(bebr.FlatIndex(models["cosine"]))
    index.add([vectors[:3], vectors[3:4]])
    before = index.search(vectors[:3], 4)
    with pytest.raises(ValueError, match=message):
        index.add(given, ids)
    after = index.search(vectors[:3], 4)
    assert len(index) == 2 and index.vectors == 4 and np.array_equal(before.ids, after.ids)


def test_searches_that_cannot_be_are_named(models, vectors):
    index = bebr.MaxSimIndex(bebr.FlatIndex(models["cosine"]))
    assert index.search(vectors[:2], 3).ids.tolist() == [[-1, -1, -1]]  # empty
    index.add([vectors[:3]])
    for options, message in (
        ({"k": 0}, "k is 0: want an integer from 1"),
        ({"candidates": 0}, "candidates is 0: want an integer from 1"),
        ({"query": "bits"}, "query is 'bits'"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search(vectors[:2], **options)
    for asked, message in (
        ([], "queries is empty"),
        ([vectors[:0]], r"queries\[0\] has 0 vectors"),
        (vectors[0], r"queries has shape \(64,\)"),
        ([vectors[:2, :5]], r"queries\[0\] has shape \(2, 5\)"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search(asked)
    with pytest.raises(KeyError, match="id 8 is not in this index"):
        index.codes(8)


class Model(RuleBasedStateMachine):
    """Adds and removals of any order against a dict of documents."""

    @initialize(metric=st.sampled_from(METRICS), kind=st.sampled_from(["flat", "graph"]))
    def start(self, metric, kind):
        self.bz = MACHINE["models"][metric]
        self.index = bebr.MaxSimIndex(bebr.FlatIndex(self.bz) if kind == "flat" else bebr.GraphIndex(self.bz))
        self.flat, self.held = kind == "flat", {}

    @rule(
        sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
        seed=st.integers(0, 99),
        ids=st.lists(st.integers(0, 12) | st.integers(LARGEST - 2, LARGEST), min_size=4, max_size=4, unique=True),
        own=st.booleans(),
    )
    def add(self, sizes, seed, ids, own):
        random = np.random.default_rng(seed)
        given = [MACHINE["vectors"][random.integers(0, 3000, size)] for size in sizes]
        numbers = ids[: len(sizes)]
        if not own:
            start = max(self.held, default=-1) + 1
            numbers = [*range(start, start + len(sizes))]
        if set(numbers) & set(self.held) or max(numbers) > LARGEST:
            with pytest.raises(ValueError, match="ids holds"):
                self.index.add(given, numbers if own else None)
            return
        self.index.add(given, numbers if own else None)
        self.held |= dict(zip(numbers, given, strict=True))

    @rule(ids=st.lists(st.integers(0, 12) | st.integers(LARGEST - 2, LARGEST), max_size=5))
    def remove(self, ids):
        going = set(ids) & set(self.held)
        assert self.index.remove(ids) == len(going)
        self.held = {number: one for number, one in self.held.items() if number not in going}

    @rule()
    def again(self):
        self.index = bebr.MaxSimIndex(self.index.index)  # what the rows alone say

    @rule(seed=st.integers(0, 99), size=st.integers(1, 5), k=st.integers(1, 6))
    def search(self, seed, size, k):
        q = MACHINE["queries"][np.random.default_rng(seed).integers(0, 50, size)]
        hits = self.index.search(q, k, candidates=100)
        found = [int(number) for number in hits.ids[0] if number >= 0]
        assert len(set(found)) == len(found) <= min(k, len(self.held))
        if not self.held:
            return
        wanted = dict(zip(self.held, naive(self.bz, q, list(self.held.values())), strict=True))
        tolerance = 2e-3 * max(map(abs, wanted.values())) + 1e-6
        np.testing.assert_allclose(hits.scores[0, : len(found)], [wanted[one] for one in found], atol=tolerance)
        if self.flat:
            assert len(found) == min(k, len(self.held))
            sign = -1 if self.bz.metric == "l2" else 1
            best = sorted((sign * score for score in wanted.values()), reverse=True)[: len(found)]
            np.testing.assert_allclose(sign * hits.scores[0, : len(found)], best, atol=tolerance)

    @invariant()
    def sizes(self):
        if hasattr(self, "held"):
            assert len(self.index) == len(self.held)
            assert self.index.vectors == sum(map(len, self.held.values()))


MACHINE: dict[str, object] = {}


def test_any_order_of_changes(models, vectors, queries):
    MACHINE.update(models=models, vectors=vectors, queries=queries)
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Model, settings=settings(max_examples=25, stateful_step_count=12, deadline=None))


@settings(max_examples=30, deadline=None)
@given(ids=st.lists(st.integers(0, LARGEST), min_size=1, max_size=8, unique=True), data=st.data())
def test_row_ids_hold_documents_and_places(ids, data):
    from bebr.index.maxsim import _rows, _sizes

    sizes = {number: data.draw(st.sampled_from([1, 2, 5, 65_536])) for number in ids}
    rows = _rows(sizes)
    assert rows.min() >= 0 and len(np.unique(rows)) == sum(sizes.values())
    assert _sizes(np.random.default_rng(0).permutation(rows)) == sizes
