"""hnswlib: HNSW over float32."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from bebr.arrays import Floats, Ids
from bebr.peers.base import DEFAULT, EF_BUILD, Adapter, Case, Peer, Setting, by_ef_search, rows_of

__all__ = ["approximate"]

_LABEL = 8


class _HNSW(Adapter):
    library = "hnswlib"
    imports = ("hnswlib",)

    @property
    def bytes_per_vector(self) -> float:
        return float(self._index.index_file_size() / self._index.get_current_count() - _LABEL)

    def add(self, base: Floats, threads: int | None = None) -> None:
        # Of unit length, so the inner product serves cosine and does not normalise again.
        space = "l2" if self._case.metric == "l2" else "ip"
        self._index = importlib.import_module("hnswlib").Index(space=space, dim=self._case.dim)
        self._index.init_index(max_elements=len(base), M=self._case.m, ef_construction=EF_BUILD)
        self._index.add_items(base, num_threads=threads or -1)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        self._index.set_ef(max(setting["ef_search"], k))
        ids, _ = self._index.knn_query(queries, k=k, num_threads=threads)
        return rows_of(ids, k)


def approximate(case: Case, version: str) -> Iterator[Peer]:
    """One graph."""
    yield _HNSW(f"hnswlib HNSW{case.m} f32", case, version, [by_ef_search()])
