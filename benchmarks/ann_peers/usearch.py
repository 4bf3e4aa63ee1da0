"""HNSW of usearch over its narrow types."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.ann_peers.base import EF_BUILD, Case, Engine, Floats, Ids, Setting, by_ef, rows_of

__all__ = ["engines"]

_KEY = 8


class _HNSW:
    """Rows in type ``code``: half floats, bytes of one scale for all dimensions, or the sides of the mean.

    usearch's own bytes are 127 times the value, which leaves a unit vector of 384 dimensions about ten levels; the
    scale here is from the data.
    """

    library = "usearch"
    imports = ("usearch.index",)

    def __init__(self, code: str, case: Case, version: str) -> None:
        self.name, self.version, self.sweeps = f"usearch HNSW{case.neighbors} {code}", version, [by_ef()]
        self._code, self._case = code, case
        self._mean = np.zeros(case.dim, dtype=np.float32)
        self._scale = 1.0
        self._index: Any = None

    @property
    def bytes_per_vector(self) -> float:
        return float(self._index.serialized_length / len(self._index) - _KEY)

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        start = time.perf_counter()
        self._mean = train.mean(axis=0)
        # One scale for all dimensions keeps order under every metric; the rare larger value is clipped.
        self._scale = 127 / float(np.quantile(np.abs(train), 0.9999))
        metric = {"cosine": "cos", "ip": "ip", "l2": "l2sq"}[self._case.metric]
        self._index = importlib.import_module("usearch.index").Index(
            ndim=self._case.dim,
            metric="hamming" if self._code == "b1" else metric,
            dtype=self._code,
            connectivity=self._case.neighbors,
            expansion_add=EF_BUILD,
        )
        self._index.add(np.arange(len(base)), self._coded(base), threads=threads)
        return time.perf_counter() - start

    def _coded(self, x: Floats) -> npt.NDArray[Any]:
        if self._code == "f16":
            return x.astype(np.float16)
        if self._code == "i8":
            return np.asarray(np.clip(np.rint(x * self._scale), -127, 127), dtype=np.int8)
        return np.asarray(np.packbits(x > self._mean, axis=1))

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        self._index.expansion_search = setting["ef"]
        return rows_of(self._index.search(self._coded(queries), k, threads=threads).keys, k)


def engines(case: Case, version: str) -> Iterator[Engine]:
    """One graph a type."""
    for code in ("f16", "i8", "b1"):
        yield _HNSW(code, case, version)
