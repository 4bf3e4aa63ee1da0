"""bebr.faiss alone: what is bebr's in it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
import bebr.faiss as faiss


@pytest.mark.parametrize(
    "description, kind, size, rescore",
    [
        ("BEBR34", faiss.IndexBEBR, 34, None),
        ("IDMap,BEBR34,Refine(SQfp16)", faiss.IndexBEBR, 34, "float16"),
        ("Flat", faiss.IndexFlat, 18, "float16"),
        ("IVF16,BEBR34", faiss.IndexIVF, 34, None),
        ("IVF16,BEBR34,Refine(SQ8)", faiss.IndexIVF, 34, "int8"),
        ("IVF16,Flat", faiss.IndexIVF, 18, "float16"),
        ("HNSW16,BEBR34", faiss.IndexHNSW, 34, None),
        ("HNSW16", faiss.IndexHNSWFlat, 18, "float16"),
    ],
)
def test_descriptions(description, kind, size, rescore):
    index = faiss.index_factory(64, description)
    assert type(index) is kind and (index.code_size, index._rescore) == (size, rescore)
    assert index.is_trained == (description in ("Flat", "HNSW16"))


@pytest.mark.parametrize(
    "description, said",
    [
        ("IVF16,PQ8", "'PQ8' is FAISS's: want BEBR<bytes>"),
        ("PCA32,BEBR8", "'PCA32' is FAISS's: bebr's codes learn their own rotation: leave it out"),
        ("BEBR34,RFlat", r"'RFlat' is FAISS's: .* want Refine\(SQfp16\) or Refine\(SQ8\)"),
        ("IVF16_HNSW32,BEBR8", "'IVF16_HNSW32' is FAISS's: want IVF<lists> or HNSW<links>"),
        ("IVF16", r"want \[IDMap,\]\[IVF<lists>"),
        ("", r"want \[IDMap,\]\[IVF<lists>"),
    ],
)
def test_what_a_description_cannot_hold(description, said):
    with pytest.raises(ValueError, match=said):
        faiss.index_factory(64, description)


def test_names_that_are_missing_say_what_to_use():
    with pytest.raises(AttributeError, match=r"bebr\.faiss has no IndexPQ: IndexBEBR"):
        faiss.IndexPQ  # noqa: B018
    with pytest.raises(AttributeError, match=r"bebr\.faiss has no METRIC_L1: METRIC_L2, or METRIC_INNER_PRODUCT"):
        faiss.METRIC_L1  # noqa: B018
    with pytest.raises(AttributeError, match=r"bebr\.faiss has no Kmeans: see docs/faiss\.md"):
        faiss.Kmeans  # noqa: B018


def test_unknown_attributes_are_refused():
    index = faiss.index_factory(64, "IVF16,BEBR34")
    with pytest.raises(AttributeError, match="IndexIVF has no attribute 'nprobes'"):
        index.nprobes = 8
    with pytest.raises(ValueError, match="nprobe is 17: want an integer from 1 to 16"):
        index.nprobe = 17
    with pytest.raises(AttributeError, match="efsearch"):
        faiss.IndexHNSWFlat(64).hnsw.efsearch = 8


def test_it_is_trained_before_rows_come(vectors):
    index = faiss.IndexBEBR(64, 18)
    with pytest.raises(ValueError, match=r"not trained: train\(\) it before it is added to"):
        index.add(vectors)
    index.train(vectors[:500])
    index.add(vectors[:500])
    with pytest.raises(ValueError, match=r"has 500 rows, whose codes would lose their meaning: reset\(\) it first"):
        index.train(vectors)
    index.reset()
    index.add(vectors[:3])
    assert index.assign(vectors[:3]).tolist() == [0, 1, 2]
    assert index.reconstruct_n(1, 2).shape == (2, 64) and index.reconstruct_n().shape == (3, 64)


def test_lists_stay_when_rows_go(vectors):
    index = faiss.index_factory(64, "IVF8,BEBR18")
    index.train(vectors[:800])
    index.add(vectors[:800])
    sizes = index.bebr_index.list_sizes
    index.reset()
    assert index.ntotal == 0 and index.is_trained
    index.add(vectors[:800])
    assert index.bebr_index.list_sizes == sizes


def test_selectors_are_combined():
    both = faiss.IDSelectorAnd(faiss.IDSelectorRange(2, 8), faiss.IDSelectorNot(faiss.IDSelectorBatch([3, 4])))
    either = faiss.IDSelectorOr(both, faiss.IDSelectorArray([0]))
    ids = np.arange(10)
    assert ids[either.mask(ids)].tolist() == [0, 2, 5, 6, 7]
    assert either.is_member(5) and not either.is_member(9) and faiss.IDSelectorAll().is_member(9)


def test_any_index_of_bebr_can_be_read(tmp_path, vectors):
    bz = bebr.train(vectors[:500], bytes_per_vector=18, metric="l2")
    for made, kind in ((bebr.FlatIndex(bz), faiss.IndexBEBR), (bebr.GraphIndex(bz), faiss.IndexHNSW)):
        made.add(vectors[:500])
        made.save(tmp_path / "x.bebr")
        index = faiss.read_index(tmp_path / "x.bebr", faiss.IO_FLAG_MMAP)
        assert type(index) is kind and index.metric_type == faiss.METRIC_L2
        assert index.search(vectors[:9], 1)[1][:, 0].tolist() == made.search(vectors[:9], 1).ids[:, 0].tolist()
    bebr.FlatIndex(bebr.untrained(64, 18)).save(tmp_path / "x.bebr")
    with pytest.raises(ValueError, match="the index has metric 'cosine', which FAISS has not"):
        faiss.read_index(tmp_path / "x.bebr")


def test_vectors_come_back_with_results(vectors):
    index = faiss.IndexFlatIP(64)
    index.add(vectors[:300])
    scores, ids, found = index.search_and_reconstruct(vectors[:2], 301)
    np.testing.assert_allclose(found[0, 0], vectors[0], atol=1e-3)
    assert scores.shape == ids.shape == (2, 301) and found.shape == (2, 301, 64) and np.isnan(found[:, 300]).all()


def test_no_rows_are_added_to_an_index_that_trains_itself(vectors):
    for index in (faiss.IndexFlatL2(64), faiss.IndexHNSWFlat(64)):
        index.add(vectors[:0])
        index.add_with_ids(vectors[:0], [])
        assert index.ntotal == 0 and index.is_trained
        index.add(vectors[:500])
        assert index.assign(vectors[:3]).tolist() == [0, 1, 2]


def test_an_untrained_index_is_not_searched(vectors):
    for index in (faiss.IndexBEBR(64, 18), faiss.IndexIVF(64, 8)):
        for call in (lambda one=index: one.search(vectors[:1], 3), lambda one=index: one.range_search(vectors[:1], 1)):
            with pytest.raises(ValueError, match="before it is searched"):
                call()


def test_squared_distances_have_roots():
    x = (np.random.default_rng(0).standard_normal((300, 3)) @ np.eye(3, 64)).astype(np.float32)
    index = faiss.IndexBEBR(64, 6)
    index.train(x)
    index.add(x)
    assert (index.bebr_index.search(x, 1).scores < 0).any()  # by code, one falls short
    assert index.search(x, 1)[0].min() == 0 and index.range_search(x, 0.1)[1].min() == 0


def test_rows_of_zeros_are_rows():
    zeros = np.zeros((5, 16), np.float32)
    for index in (faiss.IndexFlatL2(16), faiss.IndexFlatIP(16)):
        index.add(zeros)
        index.add(zeros + 1)
        assert (index.search(zeros[:1] + 1, 2)[1] >= 5).all()
