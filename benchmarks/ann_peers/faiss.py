"""IVF and HNSW of faiss."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.ann_peers.base import EF_BUILD, Case, Engine, Floats, Ids, Setting, by_ef, probes

__all__ = ["engines", "kmeans"]


class _Faiss:
    """An index by its factory string. IVF codes rows of unit length by distance, not by inner product.

    The order is the same, and codes of residuals lose less: on clustered vectors the recall of RaBitQ at 8 probes of 32
    was .612 by distance and .556 by inner product (1 bit), .921 and .908 (4 bits).
    """

    library = "faiss"
    imports = ("faiss",)

    def __init__(self, name: str, factory: str, case: Case, version: str, sweeps: Sequence[Sequence[Setting]]) -> None:
        self.name, self.version, self.sweeps = f"faiss {name}", version, sweeps
        self._factory, self._dim = factory, case.dim
        self._by_distance = case.metric == "l2" or (case.metric == "cosine" and "IVF" in factory)
        self._index: Any = None
        self._bytes = 0.0

    @property
    def bytes_per_vector(self) -> float:
        return self._bytes

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        faiss: Any = importlib.import_module("faiss")
        faiss.omp_set_num_threads(threads)
        start = time.perf_counter()
        metric = faiss.METRIC_L2 if self._by_distance else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(self._dim, self._factory, metric)
        if "HNSW" in self._factory:
            index.hnsw.efConstruction = EF_BUILD
        with _Products(faiss):
            index.train(train)
        index.add(base)
        seconds = time.perf_counter() - start
        self._index, self._bytes = index, _kept(faiss, index, self._dim)
        return seconds

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        faiss: Any = importlib.import_module("faiss")
        faiss.omp_set_num_threads(threads)
        if "ef" in setting:
            self._index.hnsw.efSearch = setting["ef"]
        else:
            faiss.extract_index_ivf(self._index).nprobe = setting["probes"]
        if "refine" in setting:
            self._index.k_factor = setting["refine"]
        _, ids = self._index.search(queries, k)
        return np.asarray(ids, dtype=np.int64)


class _Products:
    """K-means of few dimensions takes twelve times as long on the path that faiss takes by itself (1.15.1)."""

    def __init__(self, faiss: Any) -> None:
        self._options = faiss.cvar

    def __enter__(self) -> None:
        self._before = self._options.distance_compute_blas_threshold
        self._options.distance_compute_blas_threshold = 1

    def __exit__(self, *_: object) -> None:
        self._options.distance_compute_blas_threshold = self._before


def _kept(faiss: Any, index: Any, dim: int) -> float:
    """Bytes of one row: its code, the links of all layers with their bookkeeping, and the floats that refine."""
    raw = 4.0 * dim if hasattr(index, "refine_index") else 0.0
    if hasattr(index, "hnsw"):
        graph = index.hnsw
        links = 4 * graph.neighbors.size() + 8 * graph.offsets.size() + 4 * graph.levels.size()
        return float(faiss.downcast_index(index.storage).code_size + links / index.ntotal)
    return float(faiss.extract_index_ivf(index).code_size + raw)


def kmeans(train: Floats, base: Floats, lists: int, threads: int) -> tuple[Floats, Any]:
    """Centroids float32 ``[lists, d]`` and the nearest one of each base row, uint32 ``[n]``; as faiss' IVF finds them.

    For libraries that leave this to the caller, so that all inverted files stand on the same lists.
    """
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(threads)
    found = faiss.Kmeans(train.shape[1], lists, niter=10, seed=1234)  # both as its IVF has them
    with _Products(faiss):
        found.train(train)
    _, nearest = found.index.search(base, 1)
    return np.asarray(found.centroids, dtype=np.float32), nearest[:, 0].astype(np.uint32)


def engines(case: Case, version: str) -> Iterator[Engine]:
    """IVF of every number of lists with each code, then the graphs."""
    for lists in case.lists:
        plain = [probes(lists)]
        yield _Faiss(f"IVF{lists} Flat", f"IVF{lists},Flat", case, version, plain)
        refined = [probes(lists, refine=times) for times in (3, 10, 30)]
        for m in [case.dim // part for part in (4, 2) if case.dim % part == 0]:
            yield _Faiss(f"IVF{lists} PQ{m}x4fs refine", f"IVF{lists},PQ{m}x4fs,RFlat", case, version, refined)
        for bits in (1, 2, 4):
            factory = f"RR{case.dim},IVF{lists},RaBitQfs{bits}"  # RaBitQ leaves the random rotation to the caller
            yield _Faiss(f"IVF{lists} RaBitQfs{bits}", factory, case, version, plain)
    for code in ("Flat", "SQ8"):
        m = case.neighbors
        yield _Faiss(f"HNSW{m} {code}", f"HNSW{m},{code}", case, version, [by_ef()])
