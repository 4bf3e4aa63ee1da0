"""Asymmetric hashing of ScaNN over all rows."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from bebr.peers.base import Floats, Ids, Peer, prepared

__all__ = ["peers"]


class _ScaNN:
    """ScaNN's asymmetric hashing (4-bit codes, anisotropic loss) over all rows, without reordering."""

    library = "scann"
    training_free = False

    def __init__(self, block: int, dim: int, metric: str, version: str) -> None:
        self._module = importlib.import_module("scann")
        self._block, self._dim, self._metric = block, dim, metric
        self.name, self.version = f"scann AH{block}", version
        self._searcher: Any = None
        self._sample = 0

    @property
    def bytes_per_vector(self) -> float:
        return float(-(-self._dim // self._block)) / 2

    def fit(self, train: Floats) -> None:
        """Notes how many rows to learn from: ScaNN itself draws them from those that it stores, in ``add``."""
        self._sample = len(train)

    def add(self, base: Floats) -> None:
        distance = "squared_l2" if self._metric == "l2" else "dot_product"
        builder = self._module.scann_ops_pybind.builder(prepared(base, self._metric), 10, distance)
        # .2 is the threshold that its own guide uses for unit vectors; the loss is meant for inner products only.
        threshold = float("nan") if self._metric == "l2" else 0.2
        self._searcher = builder.score_ah(
            self._block, anisotropic_quantization_threshold=threshold, training_sample_size=self._sample
        ).build()

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        x = prepared(queries, self._metric)
        if threads == 1:
            ids, _ = self._searcher.search_batched(x, final_num_neighbors=k)
        else:
            self._searcher.set_num_threads(threads)
            ids, _ = self._searcher.search_batched_parallel(x, final_num_neighbors=k)
        return np.asarray(ids, dtype=np.int64)


def peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    for block in (4, 2, 1):
        yield _ScaNN(block, dim, metric, version)
