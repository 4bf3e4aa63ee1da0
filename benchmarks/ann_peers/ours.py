"""bebr's own indexes: flat, inverted lists, graph; each at every size of code, and lists with float16 rows to rescore.

A model of one size is trained once a run, by the first engine that needs it; its seconds and its memory are counted
for every engine that uses it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bebr
from benchmarks import machine
from benchmarks.ann_peers.base import Case, Engine, Floats, Ids, Setting, by_ef, probes
from benchmarks.memory import Peak

__all__ = ["engines", "kept_models", "missing"]

_FLAT: list[Setting] = [{"refine": times} for times in (4, 6, 10, 20, 50, 100, 200)]
_RESCORE = (3, 10, 30)
# Beside what training measured, which loses next to nothing: fewer rows completed, in more lists.
_MARGINS = (2.2, 2.6, 3.0, 3.5)


class _Ours:
    library = "bebr"
    imports = ("bebr",)

    def __init__(self, name: str, size: int, case: Case, sweeps: Sequence[Sequence[Setting]]) -> None:
        self.name, self.sweeps = f"bebr {name} {size} B", sweeps
        self.version = f"{bebr.__version__} {machine.commit()}"
        self.earlier_peak = 0
        """Bytes that training took at its highest, where another engine's process did it."""
        self._size, self._case = size, case
        self._index: Any = None

    @property
    def bytes_per_vector(self) -> float:
        # Lists and graphs say what they keep; a flat index keeps the code.
        return float(getattr(self._index, "bytes_per_vector", self._index.binarizer.bytes_per_vector))

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        bebr.set_num_threads(threads)
        binarizer, seconds = self._model(train)
        start = time.perf_counter()
        self._index = self._empty(binarizer)
        self._store(base, train)
        return seconds + time.perf_counter() - start

    def _model(self, train: Floats) -> tuple[bebr.Binarizer, float]:
        path = self._case.folder / f"bebr-{self._size}.safetensors"
        record = path.with_suffix(".json")
        if not record.is_file():
            start = time.perf_counter()
            with Peak() as peak:
                model = bebr.train(train, bytes_per_vector=self._size, metric=self._case.metric, seed=0)
            seconds = time.perf_counter() - start
            model.save(path)
            record.write_text(json.dumps({"seconds": seconds, "peak": peak.bytes, "commit": machine.commit()}))
        facts = json.loads(record.read_text())
        self.earlier_peak = facts["peak"]
        return bebr.Binarizer.load(path), facts["seconds"]

    def _empty(self, binarizer: bebr.Binarizer) -> Any:
        return bebr.FlatIndex(binarizer)

    def _store(self, base: Floats, train: Floats) -> None:
        self._index.add(base)

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        if bebr.get_num_threads() != threads:
            bebr.set_num_threads(threads)
        return np.asarray(self._index.search(queries, k, **setting).ids, dtype=np.int64)


class _IVF(_Ours):
    def __init__(self, lists: int, size: int, case: Case, rescored: bool) -> None:
        fixed = [{"rescore": times} for times in _RESCORE] if rescored else [{}, *({"margin": m} for m in _MARGINS)]
        sweeps = [probes(lists, **one) for one in fixed]
        super().__init__(f"IVF{lists}{' rescore' if rescored else ''}", size, case, sweeps)
        self._lists, self._options = lists, {"rescore": "float16"} if rescored else {}

    def _empty(self, binarizer: bebr.Binarizer) -> Any:
        return _kind("IVFIndex")(binarizer, lists=self._lists, seed=0, **self._options)

    def _store(self, base: Floats, train: Floats) -> None:
        self._index.train(train)  # the centroids are from the sample that the peers' are from
        self._index.add(base)


class _HNSW(_Ours):
    def __init__(self, size: int, case: Case) -> None:
        super().__init__(f"HNSW{case.neighbors}", size, case, [by_ef()])

    def _empty(self, binarizer: bebr.Binarizer) -> Any:
        return _kind("HNSWIndex")(binarizer, neighbors=self._case.neighbors)


def engines(case: Case) -> Iterator[Engine]:
    """Every index that this bebr has, at every size of code."""
    for size in case.bytes:
        yield _Ours("Flat", size, case, [_FLAT])
    for size in case.bytes:
        if _has("IVFIndex"):
            for lists in case.lists:
                yield _IVF(lists, size, case, rescored=False)
                if _rescores():
                    yield _IVF(lists, size, case, rescored=True)
        if _has("HNSWIndex"):
            yield _HNSW(size, case)


def missing() -> list[str]:
    """The indexes that this bebr lacks."""
    lines = [f"bebr {bebr.__version__} has no {name}: left out" for name in ("IVFIndex", "HNSWIndex") if not _has(name)]
    if _has("IVFIndex") and not _rescores():
        lines.append(
            "bebr.IVFIndex takes no rescore= to make it and to search it: lists with float16 rows are left out"
        )
    return lines


def kept_models(folder: Path) -> list[str]:
    """One line for each model in ``folder`` that another commit trained."""
    now = machine.commit()
    commits = {record.stem: json.loads(record.read_text())["commit"] for record in sorted(folder.glob("bebr-*.json"))}
    return [
        f"{folder / stem}.safetensors was trained at commit {commit}, this is {now}: delete it to train anew"
        for stem, commit in commits.items()
        if commit != now
    ]


def _kind(name: str) -> Any:
    return getattr(importlib.import_module("bebr"), name)


def _has(name: str) -> bool:
    return hasattr(bebr, name)


def _rescores() -> bool:
    index = _kind("IVFIndex")
    return all("rescore" in inspect.signature(call).parameters for call in (index, index.search))
