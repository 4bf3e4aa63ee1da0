"""The same script by faiss and by bebr.faiss: shapes, dtypes, order and padding are equal, and nearly all results."""

from __future__ import annotations

import types

import numpy as np
import pytest

import bebr.faiss
from tests.conftest import recall

theirs = pytest.importorskip("faiss", reason="compares with faiss-cpu")
ROWS = 800


@pytest.fixture(params=["ip", "l2"])
def metric(request) -> str:
    return request.param


def constant(faiss: types.ModuleType, metric: str) -> int:
    return faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2


def flat(faiss: types.ModuleType, metric: str, x: np.ndarray):
    index = (faiss.IndexFlatIP if metric == "ip" else faiss.IndexFlatL2)(x.shape[1])
    assert index.is_trained and index.ntotal == 0
    index.add(x[:ROWS])
    return index


def same_form(ours: tuple[np.ndarray, ...], wanted: tuple[np.ndarray, ...]) -> None:
    assert [(a.shape, a.dtype) for a in ours] == [(a.shape, a.dtype) for a in wanted]


def test_a_search(metric, vectors, queries):
    (scores, ids), (wanted, rows) = (flat(faiss, metric, vectors).search(queries, 10) for faiss in (bebr.faiss, theirs))
    same_form((scores, ids), (wanted, rows))
    assert recall(ids, rows) > 0.97
    np.testing.assert_allclose(scores[:, 0], wanted[:, 0], atol=2e-3)
    steps = np.diff(scores, axis=1)
    assert (steps <= 0).all() if metric == "ip" else (steps >= 0).all()


@pytest.mark.parametrize("k", [1, 3])
def test_an_assignment(metric, vectors, queries, k):
    ours, wanted = (flat(faiss, metric, vectors).assign(queries, k) for faiss in (bebr.faiss, theirs))
    same_form((ours,), (wanted,))


def test_missing_results_are_padded(metric, vectors):
    for faiss in (bebr.faiss, theirs):
        index = flat(faiss, metric, vectors[:300])
        scores, ids = index.search(vectors[:2], 302)
        worst = np.finfo(np.float32).max * (-1 if metric == "ip" else 1)
        assert (ids[:, 300:] == -1).all() and (scores[:, 300:] == worst).all()
        assert sorted(ids[0, :300]) == list(range(300))
        index.reset()
        scores, ids = index.search(vectors[:2], 5)
        assert (ids == -1).all() and (scores == worst).all() and index.ntotal == 0


def test_a_range_search(metric, vectors, queries):
    thresh = 0.4 if metric == "ip" else 1.2
    ours, wanted = (flat(faiss, metric, vectors).range_search(queries, thresh) for faiss in (bebr.faiss, theirs))
    assert [a.dtype for a in ours] == [a.dtype for a in wanted] and ours[0].shape == wanted[0].shape
    assert ours[0][-1] == len(ours[1]) == len(ours[2])
    common = [
        np.intersect1d(ours[2][ours[0][i] : ours[0][i + 1]], wanted[2][wanted[0][i] : wanted[0][i + 1]])
        for i in range(len(queries))
    ]
    assert sum(map(len, common)) > 0.85 * len(wanted[2])


def test_lists(metric, vectors, queries):
    found = {}
    for faiss, code in ((bebr.faiss, "BEBR34"), (theirs, "Flat")):
        index = faiss.index_factory(64, f"IVF16,{code}", constant(faiss, metric))
        assert not index.is_trained and (index.d, index.nlist) == (64, 16)
        index.train(vectors[:ROWS])
        index.add(vectors[:500])
        index.add_with_ids(vectors[500:ROWS], np.arange(5000, 5000 + ROWS - 500))
        index.nprobe = 16
        assert index.is_trained and index.ntotal == ROWS
        ivf = faiss.extract_index_ivf(index)
        assert ivf.nprobe == 16
        odd = faiss.SearchParametersIVF(sel=faiss.IDSelectorBatch(np.arange(1, 9000, 2)), nprobe=16)
        found[faiss] = (*index.search(queries, 10), *index.search(queries, 10, params=odd))
        assert (found[faiss][3] % 2 == 1).all() and index.search(queries, 3)[1].max() >= 500
    ours, wanted = found[bebr.faiss], found[theirs]
    same_form(ours, wanted)
    assert recall(ours[1], wanted[1]) > 0.8 and recall(ours[3], wanted[3]) > 0.8


def test_rows_are_read_and_removed(metric, vectors):
    for faiss in (bebr.faiss, theirs):
        index = faiss.IndexIDMap2((faiss.IndexFlatIP if metric == "ip" else faiss.IndexFlatL2)(64))
        index.add_with_ids(vectors[:300], np.arange(300) * 10)
        got = index.reconstruct(30)
        assert got.shape == (64,) and got.dtype == np.float32
        np.testing.assert_allclose(got, vectors[3], atol=1e-3)
        assert index.remove_ids(np.array([30, 40, 41])) == 2
        assert index.remove_ids(faiss.IDSelectorRange(0, 30)) == 3
        assert index.ntotal == 295 and 30 not in index.search(vectors[3:4], 10)[1]
        with pytest.raises((KeyError, RuntimeError)):
            index.reconstruct(30)


def test_a_graph(vectors, queries):
    found = []
    for faiss in (bebr.faiss, theirs):
        index = faiss.index_factory(64, "HNSW16,Flat")
        index.hnsw.efConstruction = 80
        index.add(vectors[:ROWS])
        index.hnsw.efSearch = 100
        found.append(index.search(queries, 10))
        found.append(index.search(queries, 10, params=faiss.SearchParametersHNSW(efSearch=200)))
    same_form(found[0], found[2])
    assert recall(found[0][1], found[2][1]) > 0.95 and recall(found[1][1], found[3][1]) > 0.95


def test_files(tmp_path, vectors, queries):
    for faiss in (bebr.faiss, theirs):
        index = flat(faiss, "l2", vectors)
        faiss.write_index(index, str(tmp_path / "x"))
        for again in (faiss.read_index(str(tmp_path / "x")), faiss.deserialize_index(faiss.serialize_index(index))):
            assert type(again) in (faiss.IndexFlatL2, faiss.IndexFlat) and again.ntotal == ROWS
            np.testing.assert_array_equal(again.search(queries, 5)[1], index.search(queries, 5)[1])
            again.add(vectors[:1])
            assert again.ntotal == ROWS + 1 and again.search(vectors[:1], 2)[1].max() == ROWS
    with pytest.raises(bebr.CorruptFile):
        bebr.faiss.read_index(tmp_path / "x")


def test_vectors_are_scaled_in_place(vectors):
    ours, wanted = 3 * vectors[:5], 3 * vectors[:5]
    ours[2] = wanted[2] = 0
    bebr.faiss.normalize_L2(ours)
    theirs.normalize_L2(wanted)
    np.testing.assert_allclose(ours, wanted, atol=1e-6)
