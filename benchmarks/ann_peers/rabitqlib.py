"""rabitqlib by the authors of RaBitQ: IVF and HNSW over its codes, and SymphonyQG.

Rows of unit length are indexed by distance: the order is the same, and on clustered vectors the recall of a 1-bit IVF
was .662 against .617 by inner product.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.ann_peers.base import EF_BUILD, Case, Engine, Floats, Ids, Setting, by_ef, probes, rows_of, size_of
from benchmarks.ann_peers.faiss import kmeans

__all__ = ["engines"]

# Codes in a graph are of residuals to a few centroids; this many is what the library's own example has.
_GRAPH_CENTROIDS = 16
_GRAPH_LINKS = 32
_ID = 4


class _RaBitQ:
    library = "rabitqlib"
    imports: tuple[str, ...] = ("rabitqlib", "faiss")

    def __init__(self, case: Case, version: str) -> None:
        self.version, self._case = version, case
        self._metric = "ip" if case.metric == "ip" else "l2"
        self._index: Any = None
        self._bytes = 0.0

    @property
    def bytes_per_vector(self) -> float:
        return self._bytes


class _IVF(_RaBitQ):
    def __init__(self, bits: int, lists: int, case: Case, version: str) -> None:
        super().__init__(case, version)
        self.name, self.sweeps = f"rabitqlib IVF{lists} {bits} bit", [probes(lists)]
        self._bits, self._lists = bits, lists
        # Dimensions are padded to 64; three float factors go with the sign plane, two more with further bits.
        self._bytes = -(-case.dim // 64) * 64 * bits / 8 + 12 + (8 if bits > 1 else 0)

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        start = time.perf_counter()
        centroids, nearest = kmeans(train, base, self._lists, threads)
        index = importlib.import_module("rabitqlib").IvfIndex(
            self._case.dim, len(base), self._lists, self._bits, self._metric
        )
        index.build(base, centroids, nearest, threads)
        self._index = index
        return time.perf_counter() - start

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        ids, _ = self._index.search(queries, k, setting["probes"], num_threads=threads)
        return rows_of(ids, k)


class _HNSW(_RaBitQ):
    def __init__(self, bits: int, case: Case, version: str) -> None:
        super().__init__(case, version)
        self.name, self.sweeps = f"rabitqlib HNSW{case.neighbors} {bits} bit", [by_ef()]
        self._bits = bits

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        start = time.perf_counter()
        centroids, nearest = kmeans(train, base, min(_GRAPH_CENTROIDS, len(train)), threads)
        index = importlib.import_module("rabitqlib").HnswIndex(
            self._case.dim, len(base), self._case.neighbors, EF_BUILD, self._bits, self._metric
        )
        index.build(base, centroids, nearest, threads)
        seconds = time.perf_counter() - start
        self._index, self._bytes = index, _saved(index, len(base)) - _ID
        return seconds

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        ids, _ = self._index.search(queries, k, setting["ef"], num_threads=threads)
        return rows_of(ids, k)


class _SymphonyQG(_RaBitQ):
    imports = ("rabitqlib",)

    def __init__(self, case: Case, version: str) -> None:
        super().__init__(case, version)
        self.name, self.sweeps = f"rabitqlib SymphonyQG{_GRAPH_LINKS}", [by_ef()]

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        start = time.perf_counter()
        index = importlib.import_module("rabitqlib").SymqgIndex(self._case.dim, _GRAPH_LINKS, self._metric)
        index.build(base, EF_BUILD, threads)
        seconds = time.perf_counter() - start
        self._index, self._bytes = index, _saved(index, len(base))  # rows are their own ids
        return seconds

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        # search_batch is its call for many queries; with one it only costs more.
        call = self._index.search if len(queries) == 1 else self._index.search_batch
        ids, _ = call(queries, k, setting["ef"], num_threads=threads)
        return rows_of(ids, k)


def _saved(index: Any, rows: int) -> float:
    """Bytes a row of the saved index: the library tells no sizes itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        index.save(str(path))
        return size_of(path) / rows


def engines(case: Case, version: str) -> Iterator[Engine]:
    """IVF of every number of lists and bits, the graphs, SymphonyQG."""
    for lists in case.lists:
        for bits in (1, 3, 4, 5, 7):
            yield _IVF(bits, lists, case, version)
    for bits in (4, 7):
        yield _HNSW(bits, case, version)
    yield _SymphonyQG(case, version)
