"""The narrow types of usearch, searched exactly."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.peers.base import Floats, Ids, Peer, prepared

__all__ = ["peers"]


class _Usearch:
    """usearch's exact search over rows in a narrower type; the code is the type, so there is nothing to build."""

    library = "usearch"
    training_free = True

    def __init__(self, code: str, dim: int, metric: str, version: str) -> None:
        self._module = importlib.import_module("usearch.index")
        self._code, self._dim, self._metric = code, dim, metric
        self.name, self.version = f"usearch {code}", version
        self._mean = np.zeros(dim, dtype=np.float32)
        self._scale = 1.0
        self._rows: npt.NDArray[Any] = np.empty((0, dim), dtype=np.float32)

    @property
    def bytes_per_vector(self) -> float:
        return {"f16": 2.0 * self._dim, "i8": float(self._dim), "b1": float(-(-self._dim // 8))}[self._code]

    def fit(self, train: Floats) -> None:
        x = prepared(train, self._metric)
        self._mean = x.mean(axis=0)
        # One scale for all dimensions keeps order under every metric; the rare larger value is clipped.
        self._scale = 127 / float(np.quantile(np.abs(x), 0.9999))

    def add(self, base: Floats) -> None:
        self._rows = self._coded(base)

    def _coded(self, x: Floats) -> npt.NDArray[Any]:
        x = prepared(x, self._metric)
        if self._code == "f16":
            return x.astype(np.float16)
        if self._code == "i8":
            return np.asarray(np.clip(np.rint(x * self._scale), -127, 127), dtype=np.int8)
        return np.asarray(np.packbits(x > self._mean, axis=1))

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        kinds = self._module.MetricKind
        kind = {"cosine": kinds.Cos, "ip": kinds.IP, "l2": kinds.L2sq}[self._metric]
        if self._code == "b1":
            kind = kinds.Hamming
        found = self._module.search(self._rows, self._coded(queries), k, kind, exact=True, threads=threads)
        # One query comes back as a plain row.
        return np.asarray(found.keys, dtype=np.int64).reshape(len(queries), -1)


def peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    for code in ("b1", "i8", "f16"):
        yield _Usearch(code, dim, metric, version)
