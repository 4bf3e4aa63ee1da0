"""usearch: its narrow types, searched exactly and by HNSW."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats, Ids
from bebr.peers.base import DEFAULT, EF_BUILD, Adapter, Case, Peer, Setting, Sweeps, by_ef_search, rows_of

__all__ = ["approximate", "flat"]

_KEY = 8
_METRICS = {"cosine": "cos", "ip": "ip", "l2": "l2sq"}


class _Narrow(Adapter):
    """Rows in type ``code``: half floats, bytes of one scale for all dimensions, or the sides of the mean.

    usearch's own bytes are 127 times the value, which leaves a unit vector of 384 dimensions about ten levels; the
    scale here is from the data.
    """

    library = "usearch"
    imports = ("usearch.index",)

    def __init__(self, code: str, name: str, case: Case, version: str, sweeps: Sweeps = ((DEFAULT,),)) -> None:
        super().__init__(f"usearch {name}", case, version, sweeps)
        self._code = code
        self._metric = "hamming" if code == "b1" else _METRICS[case.metric]
        self._mean = np.zeros(case.dim, dtype=np.float32)
        self._scale = 1.0

    def fit(self, train: Floats, threads: int | None = None) -> None:
        self._mean = train.mean(axis=0)
        # One scale for all dimensions keeps order under every metric; the rare larger value is clipped.
        self._scale = 127 / float(np.quantile(np.abs(train), 0.9999))

    def _coded(self, x: Floats) -> NDArray[Any]:
        if self._code == "f16":
            return x.astype(np.float16)
        if self._code == "i8":
            return np.asarray(np.clip(np.rint(x * self._scale), -127, 127), dtype=np.int8)
        return np.asarray(np.packbits(x > self._mean, axis=1))


class _Exact(_Narrow):
    """The code is the type, so there is nothing to build."""

    @property
    def bytes_per_vector(self) -> float:
        return {"f16": 2.0 * self._case.dim, "i8": float(self._case.dim), "b1": float(-(-self._case.dim // 8))}[
            self._code
        ]

    def add(self, base: Floats, threads: int | None = None) -> None:
        self._index = self._coded(base)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        search: Any = importlib.import_module("usearch.index").search
        found = search(self._index, self._coded(queries), k, self._metric, exact=True, threads=threads)
        return rows_of(found.keys, k)


class _HNSW(_Narrow):
    @property
    def bytes_per_vector(self) -> float:
        return float(self._index.serialized_length / len(self._index) - _KEY)

    def add(self, base: Floats, threads: int | None = None) -> None:
        self._index = importlib.import_module("usearch.index").Index(
            ndim=self._case.dim,
            metric=self._metric,
            dtype=self._code,
            connectivity=self._case.m,
            expansion_add=EF_BUILD,
        )
        self._index.add(np.arange(len(base)), self._coded(base), threads=threads or 0)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        self._index.expansion_search = setting["ef_search"]
        return rows_of(self._index.search(self._coded(queries), k, threads=threads).keys, k)


def flat(case: Case, version: str) -> Iterator[Peer]:
    """One exact search a type."""
    for code in ("b1", "i8", "f16"):
        yield _Exact(code, code, case, version)


def approximate(case: Case, version: str) -> Iterator[Peer]:
    """One graph a type."""
    for code in ("f16", "i8", "b1"):
        yield _HNSW(code, f"HNSW{case.m} {code}", case, version, [by_ef_search()])
