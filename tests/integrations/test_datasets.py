"""Hugging Face datasets: the index of a column, as its own faiss index answers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("datasets", reason="needs datasets: pip install 'bebr[datasets]'")

from datasets import Dataset

from bebr.integrations.datasets import add_bebr_index, load_bebr_index


@pytest.fixture(scope="module")
def dataset(vectors):
    return Dataset.from_dict({"text": [f"row {i}" for i in range(600)], "embeddings": vectors[:600].tolist()})


def test_examples_near_a_query_are_found(dataset, vectors, queries, tmp_path):
    assert add_bebr_index(dataset, "embeddings", bytes_per_vector=18, rescore="float16") is dataset
    scores, examples = dataset.get_nearest_examples("embeddings", vectors[5], k=3)
    assert examples["text"][0] == "row 5" and scores[0] == pytest.approx(1, abs=1e-3)
    totals, found = dataset.get_nearest_examples_batch("embeddings", queries, k=4)
    truth = np.argsort(-queries @ vectors[:600].T, axis=1)[:, :4]
    assert np.mean([f"row {truth[i, 0]}" == one["text"][0] for i, one in enumerate(found)]) > 0.9
    assert np.shape(totals) == (50, 4)
    assert dataset.list_indexes() == ["embeddings"]

    dataset.get_index("embeddings").save(tmp_path / "embeddings.bebr")
    dataset.drop_index("embeddings")
    load_bebr_index(dataset, "again", tmp_path / "embeddings.bebr")
    assert dataset.get_nearest_examples("again", vectors[5], k=3)[1] == examples
    with pytest.raises(ValueError, match="has 600 rows: want one for each of the 10 examples"):
        load_bebr_index(Dataset.from_dict({"n": range(10)}), "again", tmp_path / "embeddings.bebr")
    with pytest.raises(ValueError, match=r"query has shape \(2, 64\): want one vector"):
        dataset.search("again", queries[:2])


def test_lists_and_wrong_columns(dataset, vectors):
    add_bebr_index(dataset, "embeddings", "lists", bytes_per_vector=18, nlist=8, train_size=500)
    assert dataset.search("lists", vectors[9], k=1, nprobe=8).indices.tolist() == [9]
    with pytest.raises(ValueError, match="column 'text': want vectors of numbers, all of one length"):
        add_bebr_index(dataset, "text")
