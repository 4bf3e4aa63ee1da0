"""Intel's ``scalable-vs``: LVQ in one list, and Vamana graphs over LVQ, LeanVec and float32.

LVQ and LeanVec end the process on another maker's CPU, so they are offered on Intel's alone; plain floats run anywhere.
"""

from __future__ import annotations

import importlib
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bebr.arrays import Floats, Ids
from bebr.peers import lvq
from bebr.peers.base import DEFAULT, EF_BUILD, Adapter, Case, Peer, Setting, Sweeps, by_ef_search, rows_of, size_of

__all__ = ["approximate", "flat", "intel", "left_out", "one_list"]


class _SVS(Adapter):
    library = "scalable-vs"
    imports = ("svs",)

    def __init__(self, name: str, case: Case, version: str, sweeps: Sweeps = ((DEFAULT,),)) -> None:
        super().__init__(f"svs {name}", case, version, sweeps)

    @property
    def _distance(self) -> Any:
        kinds = importlib.import_module("svs").DistanceType
        return kinds.L2 if self._case.metric == "l2" else kinds.MIP


class _OneList(_SVS):
    """LVQ: the flat index of ``scalable-vs`` knows two of the codes, so all go through its IVF with one list.

    Of a two-level code every row that the first level ranks among the ``100 k`` best is scored by both.
    """

    def __init__(self, bits: int, residual: int, case: Case, version: str) -> None:
        super().__init__(f"LVQ{bits}x{residual}" if residual else f"LVQ{bits}", case, version)
        self._bits = bits, residual

    @property
    def bytes_per_vector(self) -> float:
        return lvq.code_bytes(self._case.dim, *self._bits)

    def add(self, base: Floats, threads: int | None = None) -> None:
        """Fits besides: the mean is that of the rows stored."""
        loader = importlib.import_module("svs").LVQLoader
        self._index = one_list(base, self._distance, lambda file: loader(file, *self._bits))

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        parameters = importlib.import_module("svs").IVFSearchParameters(n_probes=1, k_reorder=100.0)
        self._index.search_parameters = parameters
        ids, _ = self._index.search(queries, k)
        return rows_of(ids, k)


class _Vamana(_SVS):
    def __init__(self, code: str, case: Case, version: str) -> None:
        self._links = case.max_degree
        super().__init__(f"Vamana{self._links} {code}", case, version, [by_ef_search()])
        self._code, self._rows = code, 0

    @property
    def bytes_per_vector(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            parts = [str(Path(folder) / name) for name in ("config", "graph", "data")]
            self._index.save(*parts)
            return sum(size_of(part) for part in parts[1:]) / self._rows

    def add(self, base: Floats, threads: int | None = None) -> None:
        svs: Any = importlib.import_module("svs")
        parameters = svs.VamanaBuildParameters(graph_max_degree=self._links, window_size=EF_BUILD)

        def build(rows: Any) -> Any:
            return svs.Vamana.build(parameters, rows, self._distance, num_threads=threads or 1)

        self._rows = len(base)
        self._index = build(base) if self._code == "f32" else _from_file(base, lambda file: build(self._loader(file)))

    def _loader(self, file: Any) -> Any:
        svs: Any = importlib.import_module("svs")
        if self._code.startswith("LeanVec"):
            kinds = svs.LeanVecKind
            return svs.LeanVecLoader(file, self._case.dim // 2, primary_kind=kinds.lvq4, secondary_kind=kinds.lvq8)
        primary, _, residual = self._code.removeprefix("LVQ").partition("x")
        return svs.LVQLoader(file, int(primary), int(residual or 0))

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        if self._index.num_threads != threads:
            self._index.num_threads = threads
        self._index.search_window_size = max(setting["ef_search"], k)
        ids, _ = self._index.search(queries, k)
        return rows_of(ids, k)


def one_list(x: Floats, distance: Any, load: Callable[[Any], Any]) -> Any:
    """An IVF of one list over x; ``load`` makes of the file of rows what the index is to hold."""
    svs: Any = importlib.import_module("svs")
    parameters = svs.IVFBuildParameters(num_centroids=1, num_iterations=1, minibatch_size=min(len(x), 10_000))
    clustering = svs.Clustering.build(build_parameters=parameters, py_data=x, distance=distance, num_threads=1)
    assemble = svs.IVF.assemble_from_clustering
    return _from_file(
        x, lambda file: assemble(clustering=clustering, data_loader=load(file), distance=distance, num_threads=1)
    )


def _from_file(x: Floats, make: Callable[[Any], Any]) -> Any:
    """What ``make`` makes of a file of rows: the library compresses rows as it reads them."""
    svs: Any = importlib.import_module("svs")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rows.fvecs")
        svs.write_vecs(x, path)
        return make(svs.VectorDataLoader(path, svs.DataType.float32, x.shape[1]))


def flat(case: Case, version: str) -> Iterator[Peer]:
    """LVQ, where it runs."""
    for bits in lvq.LEVELS if intel() else ():
        if bits != (4, 4):  # the IVF of scalable-vs 0.5.0 has no such method; our own code has
            yield _OneList(*bits, case, version)


def approximate(case: Case, version: str) -> Iterator[Peer]:
    """One graph a code that runs here."""
    for code in ("f32", *(("LVQ4", "LVQ8", "LVQ4x8", "LeanVec4x8") if intel() else ())):
        yield _Vamana(code, case, version)


def left_out() -> list[str]:
    """One line for what this CPU leaves out."""
    return [] if intel() else ["scalable-vs: its LVQ and LeanVec run on Intel's CPUs alone: left out"]


def intel() -> bool:
    """Whether the CPU is one of Intel's."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    except OSError:  # no such file outside Linux
        return "Intel" in platform.processor()
