"""Every installed peer finds what is there, counts its bytes, and what is not installed is said."""

from __future__ import annotations

import importlib
import re

import numpy as np
import pytest
import threadpoolctl

from bebr import peers

INSTALLED = [peer.name for peer in peers.available(64, "cosine")]
# Codes of a bit or so a dimension lose a lot on 64 dimensions; those of eight hardly anything.
FLOORS = {"faiss Flat": 1.0, "faiss SQfp16": 0.99, "faiss SQ8": 0.97, "usearch f16": 0.99, "usearch i8": 0.95}


def exact(base, queries, k, metric):
    if metric == "l2":
        scores = 2 * queries @ base.T - (base**2).sum(1)
    else:
        scores = queries @ (base / np.linalg.norm(base, axis=1, keepdims=True) if metric == "cosine" else base).T
    return np.argsort(-scores, axis=1)[:, :k]


@pytest.mark.skipif(not INSTALLED, reason="no peer library is installed: pip install 'bebr[bench]'")
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_every_peer_beats_chance_by_far(vectors, queries, metric):
    base = vectors * np.linspace(0.5, 2, len(vectors), dtype=np.float32)[:, None] if metric != "l2" else vectors
    truth = exact(base, queries, 10, metric)
    # On a busy machine threads that wait for each other cost k-means twenty times its work.
    with threadpoolctl.threadpool_limits(1):
        names = [_checked(peer, base, queries, truth) for peer in _chosen(metric)]
    assert len(set(names)) == len(names)


def _chosen(metric):
    """One of each family: OPQ trains for seconds, and widths between are the same code with another number."""
    left_out = re.compile(r"OPQ|[235-7]( bit)?$|PQ(8|32)x4fs")
    return [peer for peer in peers.available(64, metric) if not left_out.search(peer.name)]


def _checked(peer, base, queries, truth):
    result = peers.measure(peer, base, base, queries, truth, repeats=1)
    assert result.recall >= FLOORS.get(peer.name, 0.12), result
    assert result.bytes_per_vector <= 64 * 4 and result.queries_per_second > 0 and result.version, result
    return result.name


def test_bytes_include_factors():
    pytest.importorskip("faiss", reason="pip install faiss-cpu")
    sizes = {peer.name: peer.bytes_per_vector for peer in peers.available(384, "cosine")}
    assert sizes["faiss RaBitQ1"] == sizes["faiss RaBitQfs1"] == 56
    assert sizes["faiss RaBitQ4"] == 212
    assert sizes["faiss EDEN4"] == 200
    assert sizes["faiss SQ4"] == sizes["faiss PQ384x4fs"] == 192


def test_rabitqlib_stores_what_the_adapter_counts(tmp_path):
    rabitqlib = pytest.importorskip("rabitqlib", reason="pip install rabitqlib")
    generator = np.random.default_rng(0)
    for bits in (1, 2, 4, 8):
        saved = []
        for rows in (2_000, 4_000):
            x = generator.standard_normal((rows, 128)).astype(np.float32)
            index = rabitqlib.IvfIndex(128, rows, 1, bits, "ip")
            index.build(x, x.mean(axis=0, keepdims=True), np.zeros(rows, dtype=np.uint32), 1)
            index.save(str(tmp_path / "index"))
            saved.append((tmp_path / "index").stat().st_size)
        [peer] = [peer for peer in peers.available(128, "ip") if peer.name == f"rabitqlib {bits} bit"]
        stored = (saved[1] - saved[0]) / 2_000 - 4  # the file holds a 4-byte id beside each code
        assert stored == pytest.approx(peer.bytes_per_vector, rel=0.02)


def test_a_dimension_that_a_peer_cannot_take_leaves_it_out():
    names = {peer.name for peer in peers.available(50, "cosine")}
    assert not [name for name in names if name.startswith("rabitqlib")]
    assert not [name for name in names if name == "faiss OPQ12x4fs"]


def test_an_absent_library_is_named_and_skipped(monkeypatch):
    real = importlib.import_module

    def without_faiss(name, *arguments):
        if name == "faiss":
            raise ModuleNotFoundError("No module named 'faiss'", name="faiss")
        return real(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", without_faiss)
    assert "faiss is not installed (pip install faiss-cpu): its codes are left out" in peers.missing()
    assert not [peer for peer in peers.available(64, "cosine") if peer.library == "faiss"]


def test_recall_counts_shared_answers_in_any_order():
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert peers.recall(np.array([[4, 3, 9, -1], [8, 7, 6, 5]]), truth) == 0.75


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="metric: got 'dot', wanted 'cosine', 'ip' or 'l2'"):
        peers.available(64, "dot")
