"""rabitqlib by the authors of RaBitQ: its codes in one list and in IVF, HNSW over them, and SymphonyQG.

IVF and graphs index rows of unit length by distance: the order is the same, and on clustered vectors the recall of a
1-bit IVF was .662 against .617 by inner product.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats, Ids
from bebr.peers import faiss
from bebr.peers.base import DEFAULT, EF_BUILD, Adapter, Case, Peer, Setting, by_ef_search, by_nprobe, rows_of, size_of

__all__ = ["approximate", "flat"]

# Codes in a graph are of residuals to a few centroids; this many is what the library's own example has.
_GRAPH_CENTROIDS = 16
_GRAPH_LINKS = 32


class _RaBitQ(Adapter):
    library = "rabitqlib"
    imports: tuple[str, ...] = ("rabitqlib", "faiss")

    @property
    def _metric(self) -> str:
        return "ip" if self._case.metric == "ip" else "l2"

    def _make(self, kind: str, *sizes: Any) -> Any:
        return getattr(importlib.import_module("rabitqlib"), kind)(self._case.dim, *sizes, self._metric)


class _IVF(_RaBitQ):
    def __init__(self, bits: int, nlist: int, case: Case, version: str) -> None:
        super().__init__(f"rabitqlib IVF{nlist} {bits} bit", case, version, [by_nprobe(nlist)])
        self._bits, self._nlist = bits, nlist

    @property
    def bytes_per_vector(self) -> float:
        # Dimensions are padded to 64; three float factors go with the sign plane, two more with further bits.
        return -(-self._case.dim // 64) * 64 * self._bits / 8 + 12 + (8 if self._bits > 1 else 0)

    def fit(self, train: Floats, threads: int | None = None) -> None:
        self._centroids = faiss.centroids(train, self._nlist, threads)

    def add(self, base: Floats, threads: int | None = None) -> None:
        self._index = self._make("IvfIndex", len(base), self._nlist, self._bits)
        self._index.build(base, self._centroids, self._nearest(base, threads), threads or 1)

    def _nearest(self, base: Floats, threads: int | None) -> NDArray[np.uint32]:
        return faiss.nearest(base, self._centroids, threads)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        ids, _ = self._index.search(queries, k, setting.get("nprobe", 1), num_threads=threads)
        return rows_of(ids, k)


class _OneList(_IVF):
    """Its quantizer and its scan, every row looked at. ValueError for a dimension that it cannot rotate."""

    imports = ("rabitqlib",)

    def __init__(self, bits: int, case: Case, version: str) -> None:
        super().__init__(bits, 1, case, version)
        self.name, self.sweeps = f"rabitqlib {bits} bit", ((DEFAULT,),)
        self._make("IvfIndex", 1, 1, bits)

    @property
    def _metric(self) -> str:
        return "l2" if self._case.metric == "l2" else "ip"

    def fit(self, train: Floats, threads: int | None = None) -> None:
        self._centroids = train.mean(axis=0, keepdims=True)

    def _nearest(self, base: Floats, threads: int | None) -> NDArray[np.uint32]:
        return np.zeros(len(base), dtype=np.uint32)


class _Graph(_RaBitQ):
    rows, id_bytes = 0, 0

    @cached_property
    def bytes_per_vector(self) -> float:
        """From the saved index, less the id that it holds beside a row: the library tells no sizes itself."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save(str(path))
            return size_of(path) / self.rows - self.id_bytes


class _HNSW(_Graph):
    id_bytes = 4

    def __init__(self, bits: int, case: Case, version: str) -> None:
        super().__init__(f"rabitqlib HNSW{case.m} {bits} bit", case, version, [by_ef_search()])
        self._bits = bits

    def fit(self, train: Floats, threads: int | None = None) -> None:
        self._centroids = faiss.centroids(train, min(_GRAPH_CENTROIDS, len(train)), threads)

    def add(self, base: Floats, threads: int | None = None) -> None:
        self.rows = len(base)
        self._index = self._make("HnswIndex", self.rows, self._case.m, EF_BUILD, self._bits)
        self._index.build(base, self._centroids, faiss.nearest(base, self._centroids, threads), threads or 1)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        ids, _ = self._index.search(queries, k, setting["ef_search"], num_threads=threads)
        return rows_of(ids, k)


class _SymphonyQG(_Graph):
    imports = ("rabitqlib",)

    def add(self, base: Floats, threads: int | None = None) -> None:
        self.rows = len(base)
        self._index = self._make("SymqgIndex", _GRAPH_LINKS)
        self._index.build(base, EF_BUILD, threads or 1)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        # search_batch is its call for many queries; with one it only costs more.
        call = self._index.search if len(queries) == 1 else self._index.search_batch
        ids, _ = call(queries, k, setting["ef_search"], num_threads=threads)
        return rows_of(ids, k)


def flat(case: Case, version: str) -> Iterator[Peer]:
    """One list of each number of bits."""
    for bits in range(1, 9):
        try:
            peer = _OneList(bits, case, version)
        except ValueError:
            continue
        yield peer


def approximate(case: Case, version: str) -> Iterator[Peer]:
    """IVF of every number of lists and bits, the graphs, SymphonyQG."""
    for nlist in case.nlist:
        for bits in (1, 3, 4, 5, 7):
            yield _IVF(bits, nlist, case, version)
    for bits in (4, 7):
        yield _HNSW(bits, case, version)
    yield _SymphonyQG(f"rabitqlib SymphonyQG{_GRAPH_LINKS}", case, version, [by_ef_search()])
