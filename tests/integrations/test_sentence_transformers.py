"""Beside sentence-transformers' own helpers: the same results, in the same form."""

from __future__ import annotations

import numpy as np
import pytest

import bebr
from bebr.integrations.sentence_transformers import codes_of, quantize_embeddings_bebr, semantic_search_bebr
from tests.conftest import recall


def test_results_are_those_of_their_search_by_floats(vectors, queries):
    quantization = pytest.importorskip(
        "sentence_transformers.util.quantization", reason="needs sentence-transformers: pip install 'bebr[models]'"
    )
    pytest.importorskip("faiss", reason="their helper needs faiss-cpu")
    theirs, _ = quantization.semantic_search_faiss(queries, vectors[:600], top_k=10, rescore=False)
    ours, seconds, index = semantic_search_bebr(
        queries, vectors[:600], bytes_per_vector=18, top_k=10, rescore=True, output_index=True
    )
    assert [list(one) for one in ours[0]] == [list(one) for one in theirs[0]] == [["corpus_id", "score"]] * 10
    rows = [[[hit["corpus_id"] for hit in one] for one in found] for found in (ours, theirs)]
    assert recall(*map(np.array, rows)) > 0.97 and seconds > 0
    assert ours[0][0]["score"] == pytest.approx(theirs[0][0]["score"], abs=1e-3)
    again, _ = semantic_search_bebr(queries, corpus_index=index, top_k=10)
    assert again == ours


def test_tensors_and_single_vectors_are_taken(vectors):
    torch = pytest.importorskip("torch", reason="tensors need torch: pip install 'bebr[train]'")
    corpus = torch.from_numpy(vectors[:300])
    found, _ = semantic_search_bebr(corpus[7], corpus, bytes_per_vector=18, top_k=1)
    assert [[hit["corpus_id"] for hit in one] for one in found] == [[7]]


def test_fewer_rows_than_asked_for_are_fewer_results(vectors):
    found, _ = semantic_search_bebr(vectors[:2], vectors[:300], bytes_per_vector=18, top_k=310)
    assert [len(one) for one in found] == [300, 300]
    with pytest.raises(ValueError, match="corpus_embeddings and corpus_index: want one of them"):
        semantic_search_bebr(vectors)


def test_quantized_embeddings_are_rows_of_bytes_that_an_index_takes(vectors, queries):
    rows, model = quantize_embeddings_bebr(vectors[:600], 18)
    assert rows.dtype == np.uint8 and rows.shape == (600, 18)
    index, wanted = bebr.FlatIndex(model), bebr.FlatIndex(model)
    index.add_codes(codes_of(rows, model), np.arange(600))
    wanted.add(vectors[:600])
    np.testing.assert_array_equal(index.search(queries, 5).ids, wanted.search(queries, 5).ids)
    again, same = quantize_embeddings_bebr(vectors[:10], binarizer=model)
    assert same is model and (again == rows[:10]).all()
    with pytest.raises(ValueError, match=r"rows has dtype uint8 and shape \(600, 17\): want uint8 \(n, 18\)"):
        codes_of(rows[:, :17], model)
