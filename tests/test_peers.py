"""Every installed peer finds what is there, counts its bytes, and what is not installed is said."""

from __future__ import annotations

import re

import numpy as np
import pytest
import threadpoolctl

from bebr import peers
from bebr.exact import exact, recall
from bebr.peers import lvq, svs
from bebr.peers.base import rows_of

INSTALLED = [peer.name for peer in peers.flat(64, "cosine")]
# Codes of a bit or so a dimension lose a lot on 64 dimensions; those of eight hardly anything.
FLOORS = {"faiss Flat": 1.0, "faiss SQfp16": 0.99, "faiss SQ8": 0.97, "usearch f16": 0.99, "usearch i8": 0.95}


def answers(peer, base, queries, k=10):
    peer.fit(base)
    peer.add(base)
    return peer.search(queries, k)


def test_ids_that_a_peer_did_not_find_are_minus_one():
    np.testing.assert_array_equal(rows_of(np.array([7, 3], np.uint32), 4), [[7, 3, -1, -1]])
    np.testing.assert_array_equal(rows_of(np.array([[7, 3], [1, 2]]), 2), [[7, 3], [1, 2]])


@pytest.mark.skipif(not INSTALLED, reason="no peer library is installed: pip install 'bebr[bench]'")
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_every_peer_beats_chance_by_far(vectors, queries, metric):
    vectors = vectors[:1200]
    base = vectors * np.linspace(0.5, 2, len(vectors), dtype=np.float32)[:, None] if metric != "l2" else vectors
    truth = exact(base, queries, 10, metric)
    # On a busy machine threads that wait for each other cost k-means twenty times its work.
    with threadpoolctl.threadpool_limits(1):
        rows, asked = peers.prepared(base, metric), peers.prepared(queries, metric)
        names = [_checked(peer, rows, asked, truth) for peer in _chosen(metric)]
    assert len(set(names)) == len(names)


def _chosen(metric):
    """One of each family: sizes between are the same code with another number, and some train for seconds."""
    left_out = re.compile(r"OPQ|LSQ|[235-7](mse)?( bit)?$|PQ(8|32)x4fs|LeanVec16")
    return [peer for peer in peers.flat(64, metric) if not left_out.search(peer.name)]


def _checked(peer, base, queries, truth):
    assert recall(answers(peer, base, queries), truth) >= FLOORS.get(peer.name, 0.12), peer.name
    assert peer.bytes_per_vector <= 64 * 4 and peer.version, peer.name
    return peer.name


def test_bytes_include_factors():
    pytest.importorskip("faiss", reason="pip install faiss-cpu")
    sizes = {peer.name: peer.bytes_per_vector for peer in peers.flat(384, "cosine")}
    assert sizes["faiss RaBitQ1"] == sizes["faiss RaBitQfs1"] == 56
    assert sizes["faiss RaBitQ4"] == 212
    assert sizes["faiss EDEN4"] == 200
    assert sizes["faiss EDEN8"] == 392
    assert sizes["faiss SQ4"] == sizes["faiss PQ384x4fs"] == sizes["faiss TurboQuant4mse"] == 192
    assert sizes["faiss OPQ96x8"] == 96 and sizes["faiss LSQ48x4"] == 24


def test_training_free_means_no_codebook():
    pytest.importorskip("faiss", reason="pip install faiss-cpu")
    free = {peer.name: peer.training_free for peer in peers.flat(384, "cosine")}
    assert all(free[f"faiss {code}"] for code in ("RaBitQ1", "EDEN2", "TurboQuant4", "SQ4", "Flat"))
    assert not any(free[f"faiss {code}"] for code in ("PQ96x4fs", "OPQ96x4fs", "OPQ48x8", "LSQ48x4"))
    assert free["LVQ4, our code"] and not free["LeanVec192x8 first stage, our code"]


@pytest.mark.parametrize("name", ["faiss OPQ24x8", "faiss LSQ48x4"])
def test_codes_that_train_long_find_what_is_there(name, vectors, queries):
    pytest.importorskip("faiss", reason="pip install faiss-cpu")
    base = vectors[:800]
    with threadpoolctl.threadpool_limits(1):
        [peer] = [peer for peer in peers.flat(64, "cosine") if peer.name == name]
        found = answers(peer, base, queries)
    assert peer.bytes_per_vector == 24 and recall(found, exact(base, queries, 10, "cosine")) > 0.6


def test_opq_takes_a_dimension_that_its_parts_do_not_divide():
    pytest.importorskip("faiss", reason="pip install faiss-cpu")
    sizes = {peer.name: peer.bytes_per_vector for peer in peers.flat(50, "cosine")}
    assert sizes["faiss OPQ24x8"] == 24 and sizes["faiss OPQ48x8"] == 48 and "faiss OPQ96x8" not in sizes


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
        [peer] = [peer for peer in peers.flat(128, "ip") if peer.name == f"rabitqlib {bits} bit"]
        stored = (saved[1] - saved[0]) / 2_000 - 4  # the file holds a 4-byte id beside each code
        assert stored == pytest.approx(peer.bytes_per_vector, rel=0.02)


def test_a_dimension_that_a_peer_cannot_take_leaves_it_out():
    names = {peer.name for peer in peers.flat(50, "cosine")}
    assert not [name for name in names if name.startswith("rabitqlib")]
    assert not [name for name in names if name == "faiss OPQ12x4fs"]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_lvq_finds_the_decoded_vectors_nearest(metric, vectors, queries):
    """Its answers are those of an exact search over what its codes decode to; each level halves the grid as it says."""
    errors = {}
    for bits, residual, size in ((4, 0, 36), (8, 0, 68), (4, 4, 68), (4, 8, 100)):
        peer = lvq.LVQ(bits, residual, peers.Case(64, metric), "0")
        assert peer.bytes_per_vector == size
        found = answers(peer, vectors, queries)
        decoded = peer.decoded(slice(0, len(vectors))) + vectors.mean(axis=0)
        scores = queries @ decoded.T if metric == "cosine" else 2 * queries @ decoded.T - (decoded**2).sum(1)
        expected = np.argsort(-scores, axis=1)[:, :10]
        assert recall(found, expected) > 0.99
        errors[bits, residual] = np.abs(decoded - vectors).max()
        width = (vectors - vectors.mean(0)).max(1) - (vectors - vectors.mean(0)).min(1)
        # Half a step; a thousandth of the range more for factors in half precision.
        step = width.max() / (2**bits - 1) / (2**residual - 1 if residual else 1)
        assert errors[bits, residual] <= step / 2 + width.max() / 1000
    assert errors[4, 8] < errors[4, 4] < errors[4, 0] / 5


def test_lvq_of_constant_rows_and_fewer_rows_than_asked_for():
    peer = lvq.LVQ(4, 4, peers.Case(8, "ip"), "0")
    base = np.ones((3, 8), np.float32)
    assert sorted(answers(peer, base, base[:1], 5)[0]) == [-1, -1, 0, 1, 2]


def test_leanvec_keeps_what_lies_in_its_directions():
    generator = np.random.default_rng(0)
    x = (generator.standard_normal((2_000, 8)) @ generator.standard_normal((8, 64))).astype(np.float32)
    peer = lvq.LVQ(8, 0, peers.Case(64, "l2"), "0", dims=16)
    assert peer.bytes_per_vector == 16 + 4
    assert recall(answers(peer, x, x[:50]), exact(x, x[:50], 10, "l2")) > 0.9


def test_one_list_of_svs_is_exhaustive(vectors, queries):
    module = pytest.importorskip("svs", reason="pip install scalable-vs")
    distance = module.DistanceType.MIP
    index = svs.one_list(vectors, distance, lambda file: file)
    index.search_parameters = module.IVFSearchParameters(n_probes=1, k_reorder=1.0)
    found = np.asarray(index.search(queries, 10)[0]).astype(np.int64)
    assert recall(found, exact(vectors, queries, 10, "ip")) > 0.99


def test_svs_codes_are_offered_where_they_run(monkeypatch):
    for maker, codes in ((True, {"svs LVQ4", "svs LVQ8", "svs LVQ4x8"}), (False, set())):
        monkeypatch.setattr(svs, "intel", lambda maker=maker: maker)
        offered = {peer.name: peer.bytes_per_vector for peer in svs.flat(peers.Case(384, "cosine"), "0.5.0")}
        assert set(offered) == codes
        assert offered.get("svs LVQ4x8", 580) == 4 + 192 + 384


@pytest.mark.parametrize("face", ["flat", "approximate"])
def test_an_absent_library_is_named_and_skipped(monkeypatch, face):
    version = peers.installed
    monkeypatch.setattr(peers, "installed", lambda name: None if name == "faiss-cpu" else version(name))
    assert "faiss-cpu is not installed (pip install faiss-cpu): left out" in peers.missing(face)
    found = peers.flat(64, "cosine") if face == "flat" else peers.approximate(peers.Case(64, "cosine", (16,)))
    assert not [peer for peer in found if peer.library == "faiss"]


def test_recall_counts_shared_answers_in_any_order():
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert recall(np.array([[4, 3, 9, -1], [8, 7, 6, 5]]), truth) == 0.75


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="metric: got 'dot', wanted 'cosine', 'ip' or 'l2'"):
        peers.flat(64, "dot")
