"""Vamana graphs of Intel's ``scalable-vs`` over LVQ and LeanVec, and over float32.

LVQ and LeanVec end the process on another maker's CPU, so they are offered on Intel's alone; plain floats run anywhere.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bebr.peers.lvq import intel
from benchmarks.ann_peers.base import EF_BUILD, Case, Engine, Floats, Ids, Setting, by_ef, rows_of, size_of

__all__ = ["engines", "missing"]


class _Vamana:
    library = "scalable-vs"
    imports = ("svs",)

    def __init__(self, code: str, case: Case, version: str) -> None:
        self._links = 2 * case.neighbors  # as many as the lowest layer of an HNSW has
        self.name, self.version, self.sweeps = f"svs Vamana{self._links} {code}", version, [by_ef()]
        self._code, self._case = code, case
        self._index: Any = None
        self._bytes = 0.0

    @property
    def bytes_per_vector(self) -> float:
        return self._bytes

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        svs: Any = importlib.import_module("svs")
        start = time.perf_counter()
        distance = svs.DistanceType.L2 if self._case.metric == "l2" else svs.DistanceType.MIP
        parameters = svs.VamanaBuildParameters(graph_max_degree=self._links, window_size=EF_BUILD)
        with tempfile.TemporaryDirectory() as folder:
            rows = base if self._code == "f32" else self._coded(svs, base, str(Path(folder) / "rows.fvecs"))
            self._index = svs.Vamana.build(parameters, rows, distance, num_threads=threads)
        seconds = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            parts = [str(Path(folder) / name) for name in ("config", "graph", "data")]
            self._index.save(*parts)
            self._bytes = sum(size_of(part) for part in parts[1:]) / len(base)
        return seconds

    def _coded(self, svs: Any, base: Floats, path: str) -> Any:
        svs.write_vecs(base, path)
        file = svs.VectorDataLoader(path, svs.DataType.float32, self._case.dim)
        if self._code.startswith("LeanVec"):
            kinds = svs.LeanVecKind
            return svs.LeanVecLoader(file, self._case.dim // 2, primary_kind=kinds.lvq4, secondary_kind=kinds.lvq8)
        primary, _, residual = self._code.removeprefix("LVQ").partition("x")
        return svs.LVQLoader(file, int(primary), int(residual or 0))

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        if self._index.num_threads != threads:
            self._index.num_threads = threads
        self._index.search_window_size = max(setting["ef"], k)
        ids, _ = self._index.search(queries, k)
        return rows_of(ids, k)


def engines(case: Case, version: str) -> Iterator[Engine]:
    """One graph a code that runs here."""
    codes = ["f32"]
    if intel():
        codes += ["LVQ4", "LVQ8", "LVQ4x8", "LeanVec4x8"]
    for code in codes:
        yield _Vamana(code, case, version)


def missing() -> list[str]:
    """What this CPU leaves out."""
    return [] if intel() else ["scalable-vs: its LVQ and LeanVec run on Intel's CPUs alone: left out"]
