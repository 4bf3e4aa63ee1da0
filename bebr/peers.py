"""Other engines behind one small interface, so that ``bebr tradeoff --peers`` and the benchmarks measure them alike.

Every peer here scans all rows: no graph, no pruning, so recall is that of the code and speed that of the scan. Nothing
is imported before ``available`` or ``missing`` is called; none of these libraries is needed to use bebr.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Peer", "PeerResult", "available", "measure", "missing", "recall"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# module to import -> distribution that brings it
_LIBRARIES = {"faiss": "faiss-cpu", "rabitqlib": "rabitqlib", "usearch": "usearch", "scann": "scann"}


class Peer(Protocol):
    """One code of one library. Call ``fit`` once, ``add`` once, then ``search`` as often as wanted.

    Inputs are float32 ``[n, d]``; with ``metric="cosine"`` the adapter normalises them itself.
    """

    name: str
    library: str
    version: str

    @property
    def bytes_per_vector(self) -> float:
        """Stored bytes of one vector, its factors included; ids and trained parameters are left out."""
        ...

    def fit(self, train: Floats) -> None:
        """Learn whatever the code learns from a sample."""
        ...

    def add(self, base: Floats) -> None:
        """Encode and store the rows to search."""
        ...

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        """Rows of the ``k`` best for each query, int64 ``[n, k]``, best first; -1 where there are fewer."""
        ...


@dataclass(frozen=True)
class PeerResult:
    """One measurement: recall of the exact top ``k``, whole-batch queries a second, seconds spent before searching."""

    name: str
    library: str
    version: str
    bytes_per_vector: float
    k: int
    recall: float
    queries_per_second: float
    threads: int
    fit_seconds: float
    add_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON and CSV."""
        return asdict(self)


def available(dim: int, metric: str) -> list[Peer]:
    """Fresh adapters of every installed peer that takes vectors of ``dim`` under ``metric``, by library, then bytes.

    ``metric`` is ``"cosine"``, ``"ip"`` or ``"l2"``; ValueError otherwise. What is not installed is in ``missing()``.
    """
    if metric not in ("cosine", "ip", "l2"):
        raise ValueError(f"metric: got {metric!r}, wanted 'cosine', 'ip' or 'l2'")
    makers = {"faiss": _faiss_peers, "rabitqlib": _rabitqlib_peers, "usearch": _usearch_peers, "scann": _scann_peers}
    found: list[Peer] = []
    for module, distribution in _LIBRARIES.items():
        if _import(module) is not None:
            found.extend(makers[module](dim, metric, importlib.metadata.version(distribution)))
    return found


def missing() -> list[str]:
    """One line for each peer library that is not installed, with the command that installs it."""
    return [
        f"{module} is not installed (pip install {distribution}): its codes are left out"
        for module, distribution in _LIBRARIES.items()
        if _import(module) is None
    ]


def recall(found: Ids, truth: Ids) -> float:
    """Mean share of each row of ``truth`` that is in the same row of ``found``; both int64 ``[n, k]``."""
    hits = (found[:, :, None] == truth[:, None, :]).any(axis=1)
    return float(hits.mean())


def measure(
    peer: Peer, train: Floats, base: Floats, queries: Floats, truth: Ids, threads: int = 1, repeats: int = 3
) -> PeerResult:
    """Fit, add, search. ``truth``, int64 ``[queries, k]``, sets ``k``; the speed is the median of ``repeats``."""
    start = time.perf_counter()
    peer.fit(train)
    fitted = time.perf_counter()
    peer.add(base)
    added = time.perf_counter()
    k = truth.shape[1]
    found = peer.search(queries, k, threads)
    seconds = []
    for _ in range(repeats):
        before = time.perf_counter()
        peer.search(queries, k, threads)
        seconds.append(time.perf_counter() - before)
    return PeerResult(
        name=peer.name,
        library=peer.library,
        version=peer.version,
        bytes_per_vector=peer.bytes_per_vector,
        k=k,
        recall=recall(found, truth),
        queries_per_second=len(queries) / float(np.median(seconds)),
        threads=threads,
        fit_seconds=fitted - start,
        add_seconds=added - fitted,
    )


def _import(module: str) -> Any:
    """The module, or None where it is not installed. A module that is there but broken raises, as it should."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            return None
        raise


def _prepared(x: Floats, metric: str) -> Floats:
    x = np.ascontiguousarray(x, dtype=np.float32)
    if metric != "cosine":
        return x
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)


class _Faiss:
    library = "faiss"

    def __init__(self, label: str, factory: str, dim: int, metric: str, version: str) -> None:
        self._faiss = importlib.import_module("faiss")
        kind = self._faiss.METRIC_L2 if metric == "l2" else self._faiss.METRIC_INNER_PRODUCT
        self._index = self._faiss.index_factory(dim, factory, kind)
        if factory.startswith("OPQ"):
            # The default, 50, takes many minutes; the recall of the last 40 is in the third decimal.
            self._faiss.downcast_VectorTransform(self._index.chain.at(0)).niter = 10
        self._metric = metric
        self.name, self.version = f"faiss {label}", version

    @property
    def bytes_per_vector(self) -> float:
        return float(self._index.sa_code_size())

    def fit(self, train: Floats) -> None:
        self._index.train(_prepared(train, self._metric))

    def add(self, base: Floats) -> None:
        self._index.add(_prepared(base, self._metric))

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(threads)
        try:
            _, ids = self._index.search(_prepared(queries, self._metric), k)
        finally:
            self._faiss.omp_set_num_threads(before)
        return np.asarray(ids, dtype=np.int64)


def _faiss_peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    # RaBitQ and EDEN assume isotropic rows and leave the random rotation (RR) that makes them so to the caller.
    named = {f"RaBitQ{bits}": f"RR{dim},RaBitQ{bits}" for bits in range(1, 9)}
    named |= {f"RaBitQfs{bits}": f"RR{dim},RaBitQfs{bits}" for bits in range(1, 9)}
    named |= {f"EDEN{bits}": f"RR{dim},EDEN{bits}" for bits in range(1, 5)}
    parts = [dim // dims for dims in (8, 4, 2, 1) if dim % dims == 0]
    named |= {f"PQ{m}x4fs": f"PQ{m}x4fs" for m in parts}
    if dim % 4 == 0:
        named[f"OPQ{dim // 4}x4fs"] = f"OPQ{dim // 4},PQ{dim // 4}x4fs"
    named |= {code: code for code in ("SQ4", "SQ6", "SQ8", "SQfp16", "Flat")}
    for label, factory in named.items():
        try:
            peer = _Faiss(label, factory, dim, metric, version)
        except RuntimeError:  # how an older faiss, or a dimension it cannot split, answers
            continue
        yield peer


class _RaBitQ:
    """rabitqlib's IVF with one list: its quantizer and its scan, every row looked at."""

    library = "rabitqlib"

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
        self._centroid = _prepared(train, self._metric).mean(axis=0, keepdims=True)

    def add(self, base: Floats) -> None:
        self._index = self._empty(len(base))
        self._index.build(_prepared(base, self._metric), self._centroid, np.zeros(len(base), dtype=np.uint32), 1)

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        ids, _ = self._index.search(_prepared(queries, self._metric), k, 1, num_threads=threads)
        return np.asarray(ids, dtype=np.int64)


def _rabitqlib_peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    for bits in range(1, 9):
        try:
            peer = _RaBitQ(bits, dim, metric, version)
        except ValueError:
            continue
        yield peer


class _Usearch:
    """usearch's exact search over rows in a narrower type; the code is the type, so there is nothing to build."""

    library = "usearch"

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
        x = _prepared(train, self._metric)
        self._mean = x.mean(axis=0)
        # One scale for all dimensions keeps order under every metric; the rare larger value is clipped.
        self._scale = 127 / float(np.quantile(np.abs(x), 0.9999))

    def add(self, base: Floats) -> None:
        self._rows = self._coded(base)

    def _coded(self, x: Floats) -> npt.NDArray[Any]:
        x = _prepared(x, self._metric)
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


def _usearch_peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    for code in ("b1", "i8", "f16"):
        yield _Usearch(code, dim, metric, version)


class _ScaNN:
    """ScaNN's asymmetric hashing (4-bit codes, anisotropic loss) over all rows, without reordering."""

    library = "scann"

    def __init__(self, block: int, dim: int, metric: str, version: str) -> None:
        self._module = importlib.import_module("scann")
        self._block, self._dim, self._metric = block, dim, metric
        self.name, self.version = f"scann AH{block}", version
        self._searcher: Any = None

    @property
    def bytes_per_vector(self) -> float:
        return float(-(-self._dim // self._block)) / 2

    def fit(self, train: Floats) -> None:
        """Nothing: ScaNN trains on the rows that it stores, in ``add``."""

    def add(self, base: Floats) -> None:
        distance = "squared_l2" if self._metric == "l2" else "dot_product"
        builder = self._module.scann_ops_pybind.builder(_prepared(base, self._metric), 10, distance)
        # .2 is the threshold that its own guide uses for unit vectors; the loss is meant for inner products only.
        threshold = float("nan") if self._metric == "l2" else 0.2
        self._searcher = builder.score_ah(self._block, anisotropic_quantization_threshold=threshold).build()

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        x = _prepared(queries, self._metric)
        if threads == 1:
            ids, _ = self._searcher.search_batched(x, final_num_neighbors=k)
        else:
            self._searcher.set_num_threads(threads)
            ids, _ = self._searcher.search_batched_parallel(x, final_num_neighbors=k)
        return np.asarray(ids, dtype=np.int64)


def _scann_peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    for block in (4, 2, 1):
        yield _ScaNN(block, dim, metric, version)
