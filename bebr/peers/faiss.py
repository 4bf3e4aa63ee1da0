"""faiss: every code in a flat index; IVF and HNSW."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats, Ids
from bebr.peers.base import DEFAULT, EF_BUILD, Adapter, Case, Peer, Setting, Sweeps, by_ef_search, by_nprobe

__all__ = ["approximate", "centroids", "flat", "nearest"]


class _Faiss(Adapter):
    """An index by its factory string. IVF codes rows of unit length by distance, not by inner product.

    The order is the same, and codes of residuals lose less: on clustered vectors the recall of RaBitQ at 8 probes of 32
    was .612 by distance and .556 by inner product (1 bit), .921 and .908 (4 bits).
    """

    library = "faiss"
    imports = ("faiss",)

    def __init__(self, label: str, factory: str, case: Case, version: str, sweeps: Sweeps = ((DEFAULT,),)) -> None:
        super().__init__(f"faiss {label}", case, version, sweeps)
        self._factory = factory
        self._by_distance = case.metric == "l2" or (case.metric == "cosine" and "IVF" in factory)

    @cached_property
    def index(self) -> Any:
        """Empty when first asked for. RuntimeError for a factory string or a dimension that faiss does not take."""
        faiss: Any = importlib.import_module("faiss")
        metric = faiss.METRIC_L2 if self._by_distance else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(self._case.dim, self._factory, metric)
        if self._factory.startswith("OPQ"):
            # The default, 50, takes many minutes; the recall of the last 40 is in the third decimal.
            faiss.downcast_VectorTransform(index.chain.at(0)).niter = 10
        if self._factory.startswith("LSQ"):
            # By default minutes of training on a few thousand rows, and as long again to encode a hundred thousand.
            index.lsq.train_iters, index.lsq.train_ils_iters, index.lsq.encode_ils_iters = 5, 4, 4
        if self._factory.startswith("HNSW"):
            index.hnsw.efConstruction = EF_BUILD
        return index

    @property
    def bytes_per_vector(self) -> float:
        faiss: Any = importlib.import_module("faiss")
        if self._factory.startswith("HNSW"):  # the links of all layers with their bookkeeping
            graph = self.index.hnsw
            links = 4 * graph.neighbors.size() + 8 * graph.offsets.size() + 4 * graph.levels.size()
            return float(faiss.downcast_index(self.index.storage).code_size + links / self.index.ntotal)
        if "IVF" in self._factory:
            raw = 4.0 * self._case.dim if self._factory.endswith("RFlat") else 0.0
            return float(faiss.extract_index_ivf(self.index).code_size + raw)
        return float(self.index.sa_code_size())

    def fit(self, train: Floats, threads: int | None = None) -> None:
        with _running(threads), _products():
            self.index.train(train)

    def add(self, base: Floats, threads: int | None = None) -> None:
        with _running(threads):
            self.index.add(base)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        if "ef_search" in setting:
            self.index.hnsw.efSearch = setting["ef_search"]
        if "nprobe" in setting:
            importlib.import_module("faiss").extract_index_ivf(self.index).nprobe = setting["nprobe"]
        if "oversampling" in setting:
            self.index.k_factor = setting["oversampling"]
        with _running(threads):
            _, ids = self.index.search(queries, k)
        return np.asarray(ids, dtype=np.int64)


@contextmanager
def _running(threads: int | None) -> Iterator[None]:
    """Hold faiss to so many threads; None leaves them as they are."""
    faiss: Any = importlib.import_module("faiss")
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@contextmanager
def _products() -> Iterator[None]:
    """K-means of few dimensions takes twelve times as long on the path that faiss takes by itself (1.15.1)."""
    options: Any = importlib.import_module("faiss").cvar
    before, options.distance_compute_blas_threshold = options.distance_compute_blas_threshold, 1
    try:
        yield
    finally:
        options.distance_compute_blas_threshold = before


def centroids(train: Floats, nlist: int, threads: int | None) -> Floats:
    """float32 ``[nlist, d]``, as faiss' IVF finds them: for libraries that leave this to the caller."""
    faiss: Any = importlib.import_module("faiss")
    found = faiss.Kmeans(train.shape[1], nlist, niter=10, seed=1234)  # both as its IVF has them
    with _running(threads), _products():
        found.train(train)
    return np.asarray(found.centroids, dtype=np.float32)


def nearest(x: Floats, centers: Floats, threads: int | None) -> NDArray[np.uint32]:
    """The nearest of ``centers`` for each row, uint32 ``[n]``."""
    index: Any = importlib.import_module("faiss").IndexFlatL2(x.shape[1])
    index.add(centers)
    with _running(threads):
        _, found = index.search(x, 1)
    return np.asarray(found[:, 0], dtype=np.uint32)


def flat(case: Case, version: str) -> Iterator[Peer]:
    """Every code, without training and with; what an older faiss, or one that cannot split ``dim``, refuses is left."""
    for training_free, codes in ((True, _free(case)), (False, _learned(case.dim))):
        for label, factory in codes.items():
            peer = _Faiss(label, factory, case, version)
            peer.training_free = training_free
            try:
                peer.bytes_per_vector  # noqa: B018 builds the index
            except RuntimeError:
                continue
            yield peer


def _free(case: Case) -> dict[str, str]:
    """Label -> factory string. These assume isotropic rows and leave the random rotation (RR) for it to the caller."""
    rotate = f"RR{case.dim}"
    rotated = [f"{code}{bits}" for code in ("RaBitQ", "RaBitQfs", "EDEN") for bits in range(1, 9)]
    named = {code: f"{rotate},{code}" for code in rotated}
    if case.metric == "cosine":  # TurboQuant codes rows of unit length
        named |= {f"TurboQuant{bits}mse": f"{rotate},SQtqmse{bits}" for bits in (1, 2, 3, 4)}
        named |= {f"TurboQuant{bits}": f"{rotate},SQtq{bits}" for bits in (2, 3, 4, 5)}
    return named | {code: code for code in ("SQ4", "SQ6", "SQ8", "SQfp16", "Flat")}


def _learned(dim: int) -> dict[str, str]:
    parts = [dim // dims for dims in (8, 4, 2, 1) if dim % dims == 0]
    named = {f"PQ{m}x4fs": f"PQ{m}x4fs" for m in parts}
    if dim % 4 == 0:
        named[f"OPQ{dim // 4}x4fs"] = f"OPQ{dim // 4},PQ{dim // 4}x4fs"
    # OPQ rotates to a multiple of its parts, so that every size is to be had, whatever the dimension: the nearest one,
    # for 300 dims cut to 192 lose far more than zeros up to 384 cost (recall .878 and .941). "np": without the
    # annealing that lets PQ codes be compared by Hamming distance, which takes most of the training and no part here.
    for m in (24, 48, 96, 192):
        if m <= dim:
            named[f"OPQ{m}x8"] = f"OPQ{m}_{round(dim / m) * m},PQ{m}x8np"
    # The time that additive codes take grows with the square of their parts: larger ones train for many minutes.
    return named | {"LSQ48x4": "LSQ48x4"}


def approximate(case: Case, version: str) -> Iterator[Peer]:
    """IVF of every number of lists with each code, then the graphs."""
    for nlist in case.nlist:
        plain = [by_nprobe(nlist)]
        yield _Faiss(f"IVF{nlist} Flat", f"IVF{nlist},Flat", case, version, plain)
        refined = [by_nprobe(nlist, oversampling=times) for times in (3, 10, 30)]
        for m in [case.dim // part for part in (4, 2) if case.dim % part == 0]:
            yield _Faiss(f"IVF{nlist} PQ{m}x4fs refine", f"IVF{nlist},PQ{m}x4fs,RFlat", case, version, refined)
        for bits in (1, 2, 4):
            factory = f"RR{case.dim},IVF{nlist},RaBitQfs{bits}"  # RaBitQ leaves the random rotation to the caller
            yield _Faiss(f"IVF{nlist} RaBitQfs{bits}", factory, case, version, plain)
    for code in ("Flat", "SQ8"):
        m = case.m
        yield _Faiss(f"HNSW{m} {code}", f"HNSW{m},{code}", case, version, [by_ef_search()])
