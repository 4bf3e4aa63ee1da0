"""Hugging Face datasets: an index of a column, as `Dataset.add_faiss_index` makes one. Needs the extra ``datasets``."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np

import bebr
from bebr.extras import needed

with needed("datasets", "bebr.integrations.datasets"):
    from datasets import Dataset
    from datasets.search import BaseIndex, BatchedSearchResults, SearchResults

_BATCH = 1000


class BebrIndex(BaseIndex):
    """Any index of bebr under the examples' numbers, as a dataset searches it. Scores are the metric's own: the higher
    the better for ``"cosine"`` and ``"ip"``, squared distances for ``"l2"``."""

    def __init__(self, index: bebr.Index) -> None:
        self.index = index

    def search(self, query: Any, k: int = 10, **options: Any) -> SearchResults:
        """The k best examples for one query float32[d]; options: of the index's own search."""
        scores, ids = self.index.search(np.atleast_2d(query), k, **options)
        if len(ids) != 1:
            raise ValueError(f"query has shape {np.shape(query)}: want one vector; search_batch takes more")
        return SearchResults(scores[0], ids[0])

    def search_batch(self, queries: Any, k: int = 10, **options: Any) -> BatchedSearchResults:
        """The same for queries float32[n, d]."""
        return BatchedSearchResults(*self.index.search(queries, k, **options))

    def save(self, file: str | PurePath) -> None:
        """Writes the index and its model to one file."""
        self.index.save(str(file))

    @classmethod
    def load(cls, file: str | PurePath) -> BebrIndex:
        """Opens what :meth:`save` wrote, memory-mapped."""
        return cls(bebr.open_index(str(file)))


def add_bebr_index(
    dataset: Dataset,
    column: str,
    index_name: str | None = None,
    *,
    bytes_per_vector: int = 52,
    metric: str = "cosine",
    rescore: Any = None,
    nlist: int | None = None,
    train_size: int = 65_536,
) -> Dataset:
    """Indexes the vectors of ``column``; returns the dataset, whose `get_nearest_examples`, `search` and their batched
    forms find the index under ``index_name``, by default the column's name.

    bytes_per_vector, metric: of the codes, trained on ``train_size`` examples drawn at random.
    rescore: ``"float16"`` or ``"int8"`` keeps vectors beside the codes for exact scores.
    nlist: of how many lists the index consists; None: every code is looked at.

    >>> add_bebr_index(dataset, "embeddings").get_nearest_examples("embeddings", query, k=10)
    """
    vectors = dataset.with_format("numpy", columns=[column])
    rows = np.arange(len(dataset))
    if len(rows) > train_size:
        rows = np.sort(np.random.default_rng(0).choice(rows, train_size, replace=False))
    codes = bebr.train(_matrix(vectors[rows][column], column), bytes_per_vector=bytes_per_vector, metric=metric)
    index: bebr.FlatIndex | bebr.IVFIndex
    if nlist is None:
        index = bebr.FlatIndex(codes, rescore=rescore)
    else:
        index = bebr.IVFIndex(codes, nlist=nlist, rescore=rescore)
        index.train(_matrix(vectors[rows][column], column))
    for start in range(0, len(dataset), _BATCH):
        index.add(_matrix(vectors[start : start + _BATCH][column], column))
    return _attached(dataset, index_name or column, index)


def load_bebr_index(dataset: Dataset, index_name: str, file: str | PurePath) -> Dataset:
    """Attaches the index in ``file``. ``ValueError`` unless it has as many rows as the dataset has examples."""
    index = bebr.open_index(str(file))
    if len(index) != len(dataset):
        raise ValueError(f"{file} has {len(index)} rows: want one for each of the {len(dataset)} examples")
    return _attached(dataset, index_name, index)


def _attached(dataset: Dataset, name: str, index: bebr.Index) -> Dataset:
    dataset._indexes[name] = BebrIndex(index)  # datasets has no other door for an index that is neither of its two
    return dataset


def _matrix(vectors: Any, column: str) -> Any:
    try:
        return np.stack(list(vectors)).astype(np.float32, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {column!r}: want vectors of numbers, all of one length ({error})") from error
