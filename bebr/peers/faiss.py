"""Codes of faiss, each in a flat index."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import numpy as np

from bebr.peers.base import Floats, Ids, Peer, prepared

__all__ = ["peers"]


class _Faiss:
    library = "faiss"

    def __init__(
        self, label: str, factory: str, dim: int, metric: str, version: str, training_free: bool = True
    ) -> None:
        self._faiss = importlib.import_module("faiss")
        kind = self._faiss.METRIC_L2 if metric == "l2" else self._faiss.METRIC_INNER_PRODUCT
        self._index = self._faiss.index_factory(dim, factory, kind)
        if factory.startswith("OPQ"):
            # The default, 50, takes many minutes; the recall of the last 40 is in the third decimal.
            self._faiss.downcast_VectorTransform(self._index.chain.at(0)).niter = 10
        if factory.startswith("LSQ"):
            # By default minutes of training on a few thousand rows, and as long again to encode a hundred thousand.
            code = self._index.lsq
            code.train_iters, code.train_ils_iters, code.encode_ils_iters = 5, 4, 4
        self._metric = metric
        self.name, self.version, self.training_free = f"faiss {label}", version, training_free

    @property
    def bytes_per_vector(self) -> float:
        return float(self._index.sa_code_size())

    def fit(self, train: Floats) -> None:
        # K-means of few dimensions takes twelve times as long on the path that faiss takes by itself (1.15.1).
        options = self._faiss.cvar
        before, options.distance_compute_blas_threshold = options.distance_compute_blas_threshold, 1
        try:
            self._index.train(prepared(train, self._metric))
        finally:
            options.distance_compute_blas_threshold = before

    def add(self, base: Floats) -> None:
        self._index.add(prepared(base, self._metric))

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(threads)
        try:
            _, ids = self._index.search(prepared(queries, self._metric), k)
        finally:
            self._faiss.omp_set_num_threads(before)
        return np.asarray(ids, dtype=np.int64)


def peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    for training_free, codes in ((True, _free(dim, metric)), (False, _learned(dim))):
        for label, factory in codes.items():
            try:
                peer = _Faiss(label, factory, dim, metric, version, training_free)
            except RuntimeError:  # how an older faiss, or a dimension it cannot split, answers
                continue
            yield peer


def _free(dim: int, metric: str) -> dict[str, str]:
    """Label -> factory string. These assume isotropic rows and leave the random rotation (RR) for it to the caller."""
    rotated = [f"{code}{bits}" for code in ("RaBitQ", "RaBitQfs", "EDEN") for bits in range(1, 9)]
    named = {code: f"RR{dim},{code}" for code in rotated}
    if metric == "cosine":  # TurboQuant codes rows of unit length
        named |= {f"TurboQuant{bits}mse": f"RR{dim},SQtqmse{bits}" for bits in (1, 2, 3, 4)}
        named |= {f"TurboQuant{bits}": f"RR{dim},SQtq{bits}" for bits in (2, 3, 4, 5)}
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
