"""HNSW of hnswlib over float32."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.ann_peers.base import EF_BUILD, Case, Engine, Floats, Ids, Setting, by_ef, rows_of

__all__ = ["engines"]

_LABEL = 8


class _HNSW:
    library = "hnswlib"
    imports = ("hnswlib",)

    def __init__(self, case: Case, version: str) -> None:
        self.name, self.version, self.sweeps = f"hnswlib HNSW{case.neighbors} f32", version, [by_ef()]
        self._case = case
        self._index: Any = None

    @property
    def bytes_per_vector(self) -> float:
        return float(self._index.index_file_size() / self._index.get_current_count() - _LABEL)

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        start = time.perf_counter()
        # Of unit length, so the inner product serves cosine and does not normalise again.
        space = "l2" if self._case.metric == "l2" else "ip"
        self._index = importlib.import_module("hnswlib").Index(space=space, dim=self._case.dim)
        self._index.init_index(max_elements=len(base), M=self._case.neighbors, ef_construction=EF_BUILD)
        self._index.add_items(base, num_threads=threads)
        return time.perf_counter() - start

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        self._index.set_ef(max(setting["ef"], k))
        ids, _ = self._index.knn_query(queries, k=k, num_threads=threads)
        return rows_of(ids, k)


def engines(case: Case, version: str) -> Iterator[Engine]:
    """One graph."""
    yield _HNSW(case, version)
