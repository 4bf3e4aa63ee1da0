"""RaBitQ of rabitqlib, one list: every row is looked at."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from bebr.peers.base import Floats, Ids, Peer, prepared

__all__ = ["peers"]


class _RaBitQ:
    """rabitqlib's IVF with one list: its quantizer and its scan, every row looked at."""

    library = "rabitqlib"
    training_free = True

    def __init__(self, bits: int, dim: int, metric: str, version: str) -> None:
        self._module = importlib.import_module("rabitqlib")
        self._bits, self._dim, self._metric = bits, dim, metric
        self.name, self.version = f"rabitqlib {bits} bit", version
        self._index = self._empty(1)  # the constructor is where a dimension it cannot rotate is refused
        self._centroid = np.zeros((1, dim), dtype=np.float32)

    def _empty(self, rows: int) -> Any:
        return self._module.IvfIndex(self._dim, rows, 1, self._bits, "l2" if self._metric == "l2" else "ip")

    @property
    def bytes_per_vector(self) -> float:
        # Dimensions are padded to 64; three float factors go with the sign plane, two more with further bits.
        padded = -(-self._dim // 64) * 64
        return padded * self._bits / 8 + 12 + (8 if self._bits > 1 else 0)

    def fit(self, train: Floats) -> None:
        self._centroid = prepared(train, self._metric).mean(axis=0, keepdims=True)

    def add(self, base: Floats) -> None:
        self._index = self._empty(len(base))
        self._index.build(prepared(base, self._metric), self._centroid, np.zeros(len(base), dtype=np.uint32), 1)

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        ids, _ = self._index.search(prepared(queries, self._metric), k, 1, num_threads=threads)
        return np.asarray(ids, dtype=np.int64)


def peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    for bits in range(1, 9):
        try:
            peer = _RaBitQ(bits, dim, metric, version)
        except ValueError:
            continue
        yield peer
