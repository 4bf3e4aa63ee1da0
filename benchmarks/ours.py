"""bebr's own indexes as peers: flat, inverted lists, graph with neighbours' bytes in its nodes and without; each at
every size of code, lists and graphs also with float16 rows.

A model of one size is trained once a run, by the first index that needs it; its seconds and its memory are counted for
every index that uses it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bebr
from bebr.index.raw import RawType
from bebr.peers import DEFAULT, Adapter, Case, Peer, Setting, by_ef_search, by_nprobe
from benchmarks import machine
from benchmarks.datasets import Floats, Ids
from benchmarks.memory import Peak

__all__ = ["indexes", "kept_models"]

_FLAT: list[Setting] = [{"oversampling": times} for times in (4, 6, 10, 20, 50, 100, 200)]
# Rows that get exact scores; 50 is what an index takes for k = 10 by default.
_RESCORE = (20, 50, 100)
# A walk keeps as many candidates as are rescored, so its recall is in these steps.
_RESCORE_GRAPH = (15, 20, 25, 30, 35, 40, 50, 70, 100)
# Bytes of each neighbour's code in a node: what docs/experiments/graph-inline.md found to be a good number.
_INLINE = 32
# Beside what training measured, which loses next to nothing: fewer rows completed, in more lists.
_MARGINS = (2.2, 2.6, 3.0, 3.5)


class _Ours(Adapter):
    library = "bebr"
    imports = ("bebr",)
    training_free = False

    def __init__(self, name: str, size: int, case: Case, folder: Path, sweeps: Sequence[Sequence[Setting]]) -> None:
        super().__init__(f"bebr {name} {size} B", case, f"{bebr.__version__} {machine.commit()}", sweeps)
        self.earlier_peak, self.earlier_seconds = 0, 0.0
        """What training took, where another index's process did it: bytes at its highest, seconds."""
        self._size, self._folder = size, folder
        self._model: Any = None

    @property
    def bytes_per_vector(self) -> float:
        # Lists and graphs say what they keep; a flat index keeps the code.
        return float(getattr(self._index, "bytes_per_vector", self._index.binarizer.bytes_per_vector))

    def fit(self, train: Floats, threads: int | None = None) -> None:
        bebr.set_num_threads(threads or bebr.get_num_threads())
        path = self._folder / f"bebr-{self._size}.safetensors"
        record = path.with_suffix(".json")
        earlier = record.is_file()
        if not earlier:
            start = time.perf_counter()
            with Peak() as peak:
                model = bebr.train(train, bytes_per_vector=self._size, metric=self._case.metric, seed=0)
            seconds = time.perf_counter() - start
            model.save(path)
            record.write_text(json.dumps({"seconds": seconds, "peak": peak.bytes, "commit": machine.commit()}))
        facts = json.loads(record.read_text())
        self.earlier_peak = facts["peak"]
        self.earlier_seconds = facts["seconds"] if earlier else 0.0
        self._index = self._empty(bebr.Binarizer.load(path))

    def add(self, base: Floats, threads: int | None = None) -> None:
        self._index.add(base)

    def _empty(self, binarizer: bebr.Binarizer) -> Any:
        return bebr.FlatIndex(binarizer)

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        if bebr.get_num_threads() != threads:
            bebr.set_num_threads(threads)
        return np.asarray(self._index.search(queries, k, **setting).ids, dtype=np.int64)


class _IVF(_Ours):
    def __init__(self, nlist: int, size: int, case: Case, folder: Path, rescored: bool) -> None:
        fixed = [{"rescore": rows} for rows in _RESCORE] if rescored else [{}, *({"margin": m} for m in _MARGINS)]
        sweeps = [by_nprobe(nlist, **one) for one in fixed]
        super().__init__(f"IVF{nlist}{' rescore' if rescored else ''}", size, case, folder, sweeps)
        self._nlist = nlist
        self._rescore: RawType | None = "float16" if rescored else None

    def fit(self, train: Floats, threads: int | None = None) -> None:
        super().fit(train, threads)
        self._index.train(train)  # the centroids are from the sample that the peers' are from

    def _empty(self, binarizer: bebr.Binarizer) -> Any:
        return bebr.IVFIndex(binarizer, nlist=self._nlist, seed=0, rescore=self._rescore)


class _Graph(_Ours):
    def __init__(self, inline: int, size: int, case: Case, folder: Path, rescored: bool) -> None:
        fixed = [{"rescore": rows} for rows in _RESCORE_GRAPH] if rescored else [{}]
        name = f"Graph{case.max_degree}{' inline' if inline else ''}{' rescore' if rescored else ''}"
        super().__init__(name, size, case, folder, [by_ef_search(**one) for one in fixed])
        self._inline = inline
        self._rescore: RawType | None = "float16" if rescored else None

    def _empty(self, binarizer: bebr.Binarizer) -> Any:
        degree = self._case.max_degree
        return bebr.GraphIndex(binarizer, max_degree=degree, inline=self._inline, rescore=self._rescore)


def indexes(case: Case, sizes: Sequence[int], folder: Path) -> Iterator[Peer]:
    """Every index at every size of code. folder: where one of them leaves a model for the next."""
    for size in sizes:
        yield _Ours("Flat", size, case, folder, [_FLAT])
    for size in sizes:
        for nlist in case.nlist:
            for rescored in (False, True):
                yield _IVF(nlist, size, case, folder, rescored)
        for inline in (0, _INLINE):
            for rescored in (False, True):
                yield _Graph(inline, size, case, folder, rescored)


def kept_models(folder: Path) -> list[str]:
    """One line for each model in ``folder`` that another commit trained."""
    now = machine.commit()
    commits = {record.stem: json.loads(record.read_text())["commit"] for record in sorted(folder.glob("bebr-*.json"))}
    return [
        f"{folder / stem}.safetensors was trained at commit {commit}, this is {now}: delete it to train anew"
        for stem, commit in commits.items()
        if commit != now
    ]
