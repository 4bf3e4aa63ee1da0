"""Locally-adaptive vector quantization (Aguerrebere et al., 2023, section 3), by us and by Intel's own library.

Intel's library (``scalable-vs``) ends the process when its LVQ is used on another maker's CPU, so it is offered on
theirs alone, and the code is also written out here: bytes and recall of a code do not depend on who scans it.
"""

from __future__ import annotations

import importlib
import math
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bebr.peers.base import Floats, Ids, Peer, prepared

__all__ = ["intel", "own_peers", "svs_peers"]

_LEVELS = ((4, 0), (8, 0), (4, 4), (4, 8))
_FACTORS = 4  # the lower end and the step of each row, in half precision
_BLOCK = 8192


class _LVQ:
    """LVQ of B1 bits, or of B1 bits and B2 for what they leave, searched exhaustively with float queries.

    x - mean is coded on a uniform grid between its own least and greatest value; a residual is uniform over one step.
    With ``dims`` the rows are first projected to that many principal directions: the first stage of LeanVec (Tepper
    et al., 2023). Its second stage holds a whole LVQ code beside it, which alone has the same recall in fewer bytes.
    """

    library = "own"

    def __init__(self, bits: int, residual: int, dim: int, metric: str, version: str, dims: int | None = None) -> None:
        self._bits, self._residual, self._dim, self._metric, self._dims = bits, residual, dims or dim, metric, dims
        levels = f"{bits}x{residual}" if residual else f"{bits}"
        self.name = f"LVQ{levels}, our code" if dims is None else f"LeanVec{dims}x{levels} first stage, our code"
        self.version, self.training_free = version, dims is None
        self._mean = np.zeros(dim, dtype=np.float32)
        self._project = np.eye(dim, dtype=np.float32)[:, : self._dims] if dims else None
        self._codes: list[npt.NDArray[np.uint8]] = []
        self._factors = np.zeros((0, 2), dtype=np.float16)

    @property
    def bytes_per_vector(self) -> float:
        return float(_FACTORS + sum(math.ceil(self._dim * bits / 8) for bits in (self._bits, self._residual)))

    def fit(self, train: Floats) -> None:
        x = prepared(train, self._metric)
        self._mean = x.mean(axis=0)
        if self._dims:
            _, directions = np.linalg.eigh(np.cov((x - self._mean).T))
            self._project = np.ascontiguousarray(directions[:, : -self._dims - 1 : -1], dtype=np.float32)

    def _reduced(self, x: Floats) -> Floats:
        return x if self._project is None else np.asarray(x @ self._project, dtype=np.float32)

    def add(self, base: Floats) -> None:
        parts = [
            self._coded(self._reduced(prepared(base[start : start + _BLOCK], self._metric) - self._mean))
            for start in range(0, len(base), _BLOCK)
        ]
        self._codes = [np.concatenate(codes) for codes in zip(*[codes for codes, _ in parts], strict=True)]
        self._factors = np.concatenate([factors for _, factors in parts])

    def _coded(self, x: Floats) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.float16]]:
        top = 2**self._bits - 1
        low = x.min(axis=1, keepdims=True).astype(np.float16)
        step = ((x.max(axis=1, keepdims=True) - low) / top).astype(np.float16)
        factors = np.hstack([low, step])
        step = np.maximum(step, np.finfo(np.float16).tiny).astype(np.float32)
        code = np.clip(np.rint((x - low) / step), 0, top).astype(np.uint8)
        if not self._residual:
            return [code], factors
        top = 2**self._residual - 1
        rest = (x - low) / step - code  # in steps: -1/2 to 1/2
        return [code, np.clip(np.rint((rest + np.float32(0.5)) * top), 0, top).astype(np.uint8)], factors

    def _decoded(self, rows: slice) -> Floats:
        low, step = np.hsplit(self._factors[rows].astype(np.float32), 2)
        x = self._codes[0][rows].astype(np.float32)
        if self._residual:
            x += self._codes[1][rows] / np.float32(2**self._residual - 1) - np.float32(0.5)
        return np.asarray(x * step + low, dtype=np.float32)

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        """As the interface says; ``threads`` is left to BLAS."""
        q = prepared(queries, self._metric)
        # <q, mean> is the same for every row; distances are those of rows and query less the mean.
        q = self._reduced(q - self._mean if self._metric == "l2" else q)
        rows = len(self._factors)
        best, ids = np.full((len(q), 0), -np.inf, np.float32), np.zeros((len(q), 0), np.int64)
        for start in range(0, rows, _BLOCK):
            x = self._decoded(slice(start, start + _BLOCK))
            scores = q @ x.T
            if self._metric == "l2":
                scores = 2 * scores - np.einsum("nd,nd->n", x, x)
            best = np.hstack([best, scores])
            ids = np.hstack([ids, np.broadcast_to(np.arange(start, start + len(x)), scores.shape)])
            if best.shape[1] > k:
                keep = np.argpartition(-best, k - 1, axis=1)[:, :k]
                best, ids = np.take_along_axis(best, keep, 1), np.take_along_axis(ids, keep, 1)
        found = np.take_along_axis(ids, np.argsort(-best, axis=1, kind="stable"), 1)
        return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1)


def own_peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    for bits, residual in _LEVELS:
        yield _LVQ(bits, residual, dim, metric, version)
    for share in (4, 2):
        for bits in (4, 8):
            if dim >= 32:
                yield _LVQ(bits, 0, dim, metric, version, dims=dim // share)


class _SVS:
    """LVQ of ``scalable-vs``: its flat index knows two of the codes, so all go through its IVF with one list.

    Of a two-level code every row that the first level ranks among the ``100 k`` best is scored by both.
    """

    library = "scalable-vs"
    training_free = True

    def __init__(self, bits: int, residual: int, dim: int, metric: str, version: str) -> None:
        self._svs = importlib.import_module("svs")
        self._bits, self._residual, self._dim, self._metric = bits, residual, dim, metric
        self.name = f"svs LVQ{bits}x{residual}" if residual else f"svs LVQ{bits}"
        self.version = version
        self._index: Any = None

    @property
    def bytes_per_vector(self) -> float:
        return float(_FACTORS + sum(math.ceil(self._dim * bits / 8) for bits in (self._bits, self._residual)))

    def fit(self, train: Floats) -> None:
        """Nothing: the mean is that of the rows stored."""

    def add(self, base: Floats) -> None:
        svs, x = self._svs, prepared(base, self._metric)
        self._index = _one_list(svs, x, self._metric, lambda file: svs.LVQLoader(file, self._bits, self._residual))

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        self._index.search_parameters = self._svs.IVFSearchParameters(n_probes=1, k_reorder=100.0)
        ids, _ = self._index.search(prepared(queries, self._metric), k)
        return np.asarray(ids).astype(np.int64)


def _one_list(svs: Any, x: Floats, metric: str, loader: Any) -> Any:
    """An IVF of one list over x; ``loader`` makes of the file of rows what the index is to hold."""
    distance = svs.DistanceType.L2 if metric == "l2" else svs.DistanceType.MIP
    parameters = svs.IVFBuildParameters(num_centroids=1, num_iterations=1, minibatch_size=min(len(x), 10_000))
    clustering = svs.Clustering.build(build_parameters=parameters, py_data=x, distance=distance, num_threads=1)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rows.fvecs")
        svs.write_vecs(x, path)
        file = svs.VectorDataLoader(path, svs.DataType.float32, x.shape[1])
        return svs.IVF.assemble_from_clustering(
            clustering=clustering, data_loader=loader(file), distance=distance, num_threads=1
        )


def svs_peers(dim: int, metric: str, version: str) -> Iterator[Peer]:
    if intel():
        for bits, residual in _LEVELS:
            if (bits, residual) == (4, 4):
                continue  # the IVF of scalable-vs 0.5.0 has no such method; our own code has
            yield _SVS(bits, residual, dim, metric, version)


def intel() -> bool:
    """Whether the CPU is one of Intel's."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    except OSError:  # no such file outside Linux
        return "Intel" in platform.processor()
