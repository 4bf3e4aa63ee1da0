"""Raw vectors beside the codes: the best by code get exact scores. The model is numpy on the vectors themselves."""

from __future__ import annotations

import os
import tempfile
import threading
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import bebr
from bebr.exact import exact
from tests.conftest import clustered, model_of, recall

# What a row loses, as a share of the largest scores: rounding to fp16, or to 1/127 of a row's largest entry.
LOSS = {"float16": 1e-3, "int8": 1e-2}


@cache
def model(metric: str) -> tuple[bebr.Binarizer, np.ndarray]:
    x = clustered(3000, 64)
    if metric != "cosine":
        x *= np.linspace(0.5, 3, len(x), dtype=np.float32)[:, None]
    return model_of(x, widths=[48, 8], metric=metric), x


@pytest.fixture(params=["cosine", "ip", "l2"])
def trained(request):
    return model(request.param)


def indexes(bz: bebr.Binarizer, **options):
    return bebr.FlatIndex(bz, **options), bebr.IVFIndex(bz, nlist=8, **options), bebr.GraphIndex(bz, **options)


@cache
def filled(metric: str, kind: str | None) -> tuple[bebr.Index, ...]:
    """Indexes of all vectors, for tests that only search."""
    bz, x = model(metric)
    made = indexes(bz, rescore=kind)
    for index in made:
        index.add(x)
    return made


def all_scores(metric: str, q: np.ndarray, x: np.ndarray) -> np.ndarray:
    q, x = q.astype(np.float64), x.astype(np.float64)
    if metric == "l2":
        return ((q[:, None, :] - x[None]) ** 2).sum(axis=2)
    if metric == "cosine":
        q, x = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (q, x))
    return q @ x.T


@pytest.mark.parametrize("kind", ["float16", "int8"])
@pytest.mark.parametrize("query", ["float", "code"])
def test_scores_are_those_of_the_vectors(trained, queries, kind, query):
    bz, x = trained
    want = all_scores(bz.metric, queries, x)
    for index in filled(bz.metric, kind):
        hits = index.search(queries, 10, rescore=200, query=query)
        found = np.take_along_axis(want, hits.ids, axis=1)
        np.testing.assert_allclose(hits.scores, found, atol=LOSS[kind] * np.abs(want).max())
        order = hits.scores if bz.metric == "l2" else -hits.scores
        assert (np.diff(order, axis=1) >= 0).all()


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_all_rows_rescored_is_exact_search(trained, queries, kind):
    bz, x = trained
    truth = exact(x, queries, 10, bz.metric)
    for index in filled(bz.metric, kind):
        options = {"nprobe": 8} if isinstance(index, bebr.IVFIndex) else {}
        found = index.search(queries, 10, rescore=len(x), **options).ids
        assert recall(found, truth) >= (0.998 if kind == "float16" else 0.97)


def test_the_more_rescored_the_better_and_by_default_some_are(trained, queries):
    bz, x = trained
    truth = exact(x, queries, 10, bz.metric)
    for index in filled(bz.metric, "float16"):
        found = [recall(index.search(queries, 10, rescore=n).ids, truth) for n in (0, 20, 100)]
        assert found[0] + 0.05 < found[1] < found[2]
        assert recall(index.search(queries, 10).ids, truth) > found[1]


def test_zero_is_the_search_by_code(trained, queries):
    bz, _ = trained
    for plain, kept in zip(filled(bz.metric, None), filled(bz.metric, "int8"), strict=True):
        assert (plain.raw_type, kept.raw_type) == (None, "int8")
        for a, b in zip(plain.search(queries, 10), kept.search(queries, 10, rescore=0), strict=True):
            np.testing.assert_array_equal(a, b)


def test_bytes_count_the_vectors(trained):
    bz, _ = trained
    for kind, row in ((None, 0), ("float16", 128), ("int8", 68)):
        for index, plain in zip(indexes(bz, rescore=kind), indexes(bz), strict=True):
            assert index.bytes_per_vector == plain.bytes_per_vector + row


def alike(one: bebr.Index, other: bebr.Index, queries: np.ndarray) -> None:
    """The same answers; of a graph, which is linked anew where rows were removed, nearly."""
    a, b = one.search(queries, 10), other.search(queries, 10)
    if isinstance(one, bebr.GraphIndex):
        assert recall(a.ids, b.ids) > 0.95
        a, b = (bebr.Hits(*(part[(a.ids == b.ids).all(axis=1)] for part in hits)) for hits in (a, b))
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_save_and_open(trained, queries, tmp_path, mmap, kind):
    bz, x = trained[0], trained[1][:1500]
    ids = np.random.default_rng(0).permutation(10 * len(x))[: len(x)]
    for index in indexes(bz, rescore=kind):
        index.add(x, ids)
        index.remove(ids[::5])
        path = tmp_path / "x.bebr"
        index.save(path)
        again = bebr.open_index(path, mmap=mmap)
        assert again.raw_type == kind
        alike(index, again, queries)
        if mmap:
            with pytest.raises(ValueError, match="mmap=False"):
                again.add(x[:1], [5])
        else:
            again.add(x[:1], ids[:1])
            assert ids[0] in again and again.search(x[:1], 1, allow=ids[:1], rescore=1).ids[0, 0] == ids[0]
        # Rows that are only marked do not reach the next file, nor do their vectors.
        assert again.remove(ids[1:1000]) == 999 - 199
        again.save(path)
        third = bebr.open_index(path, verify=True)
        assert len(third) == len(again)
        alike(again, third, queries)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no way to put a file out of memory")
@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_rows_that_are_not_in_memory_score_the_same(trained, queries, tmp_path, kind):
    bz, x = trained
    index = bebr.FlatIndex(bz, rescore=kind)
    index.add(x, np.random.default_rng(1).permutation(len(x)))
    want = index.search(queries, 10, rescore=100)
    path = tmp_path / "x.bebr"
    index.save(path)
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    for a, b in zip(want, bebr.open_index(path).search(queries, 10, rescore=100), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_index_without_vectors_opens_without(trained, queries, tmp_path):
    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x)
    index.save(tmp_path / "x.bebr")
    again = bebr.open_index(tmp_path / "x.bebr")
    assert again.raw_type is None
    with pytest.raises(ValueError, match="keeps no raw vectors"):
        again.search(queries, 10, rescore=50)


def test_damaged_vectors_are_refused(trained, tmp_path):
    bz, x = trained
    index = bebr.FlatIndex(bz, rescore="float16")
    index.add(x[:100])
    path = tmp_path / "x.bebr"
    index.save(path)
    whole = path.read_bytes()
    row = bz.vectors(x[50:51]).astype(np.float16).tobytes()
    damaged = bytearray(whole)
    damaged[whole.index(row)] ^= 1
    path.write_bytes(damaged)
    bebr.open_index(path)
    for options in ({"verify": True}, {"mmap": False}):
        with pytest.raises(bebr.CorruptFile, match=f"{path}: section 'raw_rows'"):
            bebr.open_index(path, **options)


@pytest.mark.parametrize(
    ("dim", "rows", "first_id", "message"),
    [
        (64, 99, 0, "99 vectors beside 100 codes"),
        (64, 100, 7, "holds id 100, which has no code"),
        (32, 100, 0, "of 32"),
    ],
)
def test_vectors_of_another_index_are_refused(trained, tmp_path, dim, rows, first_id, message):
    from bebr import _core

    bz, x = trained
    index = bebr.FlatIndex(bz)
    index.add(x[:100])
    others = _core.RawVectors(dim, "float16")
    others.add(np.ones((rows, dim), np.float32), np.arange(first_id, first_id + rows))
    path = tmp_path / "x.bebr"
    index._engine.save(str(path), {"model": bz.to_bytes()}, others)
    with pytest.raises(bebr.CorruptFile, match=f"{path}.*{message}"):
        bebr.open_index(path, verify=True)


def test_filters_and_radius_hold_for_exact_scores(trained, queries):
    bz, x = trained
    want = all_scores(bz.metric, queries, x)
    allowed = np.random.default_rng(3).permutation(len(x))[:300]
    for index in filled(bz.metric, "float16"):
        hits = index.search(queries, 10, allow=allowed, rescore=300)
        sign = -1 if bz.metric == "l2" else 1
        truth = allowed[np.argsort(-sign * want[:, allowed], axis=1)[:, :10]]
        assert recall(hits.ids, truth) > 0.99
    radius = float(np.sort(sign * want, axis=1)[:, -5].mean()) * sign
    index = filled(bz.metric, "float16")[1]
    near = index.search(queries, 10, radius=radius, rescore=500, nprobe=8)
    inside = (near.scores <= radius) if bz.metric == "l2" else (near.scores >= radius)
    assert (inside == (near.ids >= 0)).all() and 0 < inside.sum() < inside.size
    truth = np.minimum((sign * want >= sign * radius).sum(axis=1), 10)
    assert np.abs(inside.sum(axis=1) - truth).mean() < 0.1


def test_few_rows_a_list_do_not_widen_the_search(queries):
    """Lists that hold enough results are not joined by others only because more were to be rescored."""
    bz, vectors = model("cosine")
    index = bebr.IVFIndex(bz, nlist=64, rescore="float16")
    index.add(vectors)
    found = index.search(queries, 10, nprobe=1, rescore=len(vectors)).ids
    lists = index._engine.assign(bz.vectors(vectors))
    assert np.mean([len(set(lists[row])) == 1 for row in found]) > 0.9


def test_threads_do_not_change_the_answer(trained, queries):
    bz, _ = trained
    before = bebr.get_num_threads()
    for index in filled(bz.metric, "int8"):
        try:
            bebr.set_num_threads(1)
            one = index.search(queries, 10)
            bebr.set_num_threads(3)
            three = index.search(queries, 10)
        finally:
            bebr.set_num_threads(before)
        np.testing.assert_array_equal(one.ids, three.ids)
        np.testing.assert_array_equal(one.scores, three.scores)


def test_searches_go_on_while_rows_come_and_go(queries):
    bz, vectors = model("cosine")
    index = bebr.FlatIndex(bz, rescore="float16")
    index.add(vectors[:2000])
    stop = threading.Event()

    def change():
        while not stop.is_set():
            index.add(vectors[2000:], np.arange(2000, 3000))
            index.remove(np.arange(2000, 3000))

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(30):
            hits = index.search(queries, 10, rescore=100)
            there = hits.ids >= 0
            want = all_scores("cosine", queries, vectors)[np.nonzero(there)[0], hits.ids[there]]
            np.testing.assert_allclose(hits.scores[there], want, atol=1e-3)
            assert there.mean() > 0.5
    finally:
        stop.set()
        changing.join()


def test_search_ids_goes_by_the_vectors(trained):
    bz, x = trained
    truth = exact(x, x[:20], 11, bz.metric)
    for index in filled(bz.metric, "float16"):
        options = {"nprobe": 8} if isinstance(index, bebr.IVFIndex) else {}
        found = index.search_ids(np.arange(20), 10, rescore=200, **options).ids
        want = [[i for i in row if i != n][:10] for n, row in enumerate(truth)]
        assert recall(found, np.array(want)) > 0.95
        assert index.search_ids([3], 10, rescore=10, **options).ids.shape == (1, 10)
        with pytest.raises(KeyError, match="99999"):
            index.search_ids([99999])


@pytest.mark.skipif(find_spec("torch") is None, reason="the gradient part of a map needs torch")
def test_queries_of_a_newer_model_are_refused_aloud(monkeypatch, queries):
    from bebr.training.compat import descend_map

    monkeypatch.setattr(descend_map, "_STEPS", 2)
    monkeypatch.setattr(descend_map, "_BATCH", 128)
    vectors = clustered(600, 64)
    old = model_of(vectors, widths=[48, 8])
    new = bebr.train(vectors, widths=[48, 16], seed=0, compatible_with=old, old_vectors=vectors)
    for index in indexes(old, rescore="float16"):
        index.add(vectors)
        with pytest.raises(ValueError, match=r"another model's.*rescore=0"):
            index.search(queries, 10, binarizer=new)
        assert (index.search(queries, 10, binarizer=new, rescore=0).ids >= 0).all()


def bad_calls():
    yield "codes alone", lambda ix, x: ix.add_codes(ix.binarizer.encode(x), np.arange(50, 60)), "add\\(\\) the vectors"
    yield "present id", lambda ix, x: ix.add(x[:1], [0]), "0 is already present"
    yield "repeated id", lambda ix, x: ix.add(x[:2], [33, 33]), "33 is already present"
    yield "id below zero", lambda ix, x: ix.add(x[:1], [-3]), "-3"
    yield "fewer than k", lambda ix, x: ix.search(x, 5, rescore=3), "rescore is 3, fewer than k \\(5\\)"
    yield "below zero", lambda ix, x: ix.search(x, 5, rescore=-1), "rescore is -1"
    yield "no number", lambda ix, x: ix.search(x, 5, rescore="all"), "rescore is 'all'"
    yield "true", lambda ix, x: ix.search(x, 5, rescore=True), "rescore is True"
    yield "k of zero", lambda ix, x: ix.search(x, 0), "k is 0"


@pytest.mark.parametrize(("call", "message"), [pytest.param(c, m, id=n) for n, c, m in bad_calls()])
def test_bad_input_names_what_was_wrong(trained, call, message):
    bz, x = trained
    for index in indexes(bz, rescore="float16"):
        index.add(x[:10])
        with pytest.raises(ValueError, match=message):
            call(index, x[:10])
        assert len(index) == len(index._raw.core) == 10


def test_what_cannot_be_kept_is_refused(vectors):
    bz = model_of(vectors, widths=[48, 8], metric="ip", factor_bytes=4)
    with pytest.raises(ValueError, match="rescore is 'float32'"):
        bebr.FlatIndex(bz, rescore="float32")
    large = vectors[:3] * np.float32([[1], [1], [1e6]])
    index = bebr.FlatIndex(bz, rescore="float16")
    with pytest.raises(ValueError, match=r"vector 2 .*float16 cannot hold.*int8"):
        index.add(large)
    assert len(index) == 0 and len(index._raw.core) == 0
    index = bebr.FlatIndex(bz, rescore="int8")
    index.add(large)
    best = index.search(vectors[2:3], 1)
    assert best.ids[0, 0] == 2
    np.testing.assert_allclose(best.scores[0, 0], (vectors[2] @ vectors[2]) * 1e6, rtol=0.01)
    paper = {k: v for k, v in bz.tensors.items() if not k.startswith(("decoder", "stage"))}
    bare = bebr.Binarizer.from_tensors(paper, bz.config | {"stage_factor": False})
    with pytest.raises(ValueError, match="no decoder"):
        bebr.FlatIndex(bare, rescore="float16")


def test_zero_vectors_and_equal_rows(queries):
    x = np.vstack([np.zeros((2, 64)), np.tile(queries[:1], (3, 1)), queries]).astype(np.float32)
    bz = bebr.untrained(64, 10, metric="l2")
    for kind in ("float16", "int8"):
        index = bebr.FlatIndex(bz, rescore=kind)
        index.add(x)
        hits = index.search(queries[:1], 4, rescore=len(x))
        assert hits.ids.tolist() == [[2, 3, 4, 5]]
        np.testing.assert_allclose(hits.scores, 0, atol=1e-3)
        zeros = index.search(np.zeros((1, 64), np.float32), 2, rescore=len(x))
        assert zeros.ids.tolist() == [[0, 1]] and (zeros.scores == 0).all()


@cache
def small_model(metric: str) -> bebr.Binarizer:
    return model_of(clustered(200, 16, seed=5), widths=[16, 8], metric=metric)


class RescoreMachine(RuleBasedStateMachine):
    """Adds, removals and files in any order: codes and vectors always hold the same ids, scores are those of a dict."""

    @initialize(kind=st.sampled_from(["float16", "int8"]), lists=st.booleans(), metric=st.sampled_from(["ip", "l2"]))
    def start(self, kind, lists, metric):
        self.x = clustered(200, 16, seed=5)
        bz = small_model(metric)
        self.index = bebr.IVFIndex(bz, nlist=4, rescore=kind) if lists else bebr.FlatIndex(bz, rescore=kind)
        if lists:
            self.index.train(self.x)
        self.model: dict[int, int] = {}

    @rule(rows=st.lists(st.integers(0, 199), unique=True, max_size=40))
    def add(self, rows):
        new = [r for r in rows if 3 * r not in self.model]
        self.index.add(self.x[new], [3 * r for r in new])
        self.model |= {3 * r: r for r in new}

    @rule(rows=st.lists(st.integers(0, 199), min_size=2, max_size=5))
    def add_twice(self, rows):
        if len(set(rows)) < len(rows) or any(3 * r in self.model for r in rows):
            with pytest.raises(ValueError, match="already present"):
                self.index.add(self.x[rows], [3 * r for r in rows])

    @rule(ids=st.lists(st.integers(0, 610), max_size=60))
    def remove(self, ids):
        gone = {i for i in ids if i in self.model}
        assert self.index.remove(ids) == len(gone)
        for i in gone:
            del self.model[i]

    @rule()
    def through_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            self.index.save(Path(folder) / "x.bebr")
            # Mapped, saved from there, and read.
            bebr.open_index(Path(folder) / "x.bebr").save(Path(folder) / "y.bebr")
            self.index = bebr.open_index(Path(folder) / "y.bebr", mmap=False)

    @invariant()
    def finds_everything_with_its_score(self):
        n = len(self.model)
        assert len(self.index._raw.core) == n
        hits = self.index.search(self.x[:1], n + 1, rescore=n + 1)
        assert sorted(hits.ids[0]) == sorted([*self.model, -1])
        rows = self.x[[self.model[int(i)] for i in hits.ids[0, :n]]]
        want = all_scores(self.index.binarizer.metric, self.x[:1], rows)
        np.testing.assert_allclose(hits.scores[:, :n], want, atol=0.03)


RescoreMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
TestRescoreMachine = RescoreMachine.TestCase
