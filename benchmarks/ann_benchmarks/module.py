# SPDX-License-Identifier: Apache-2.0
"""bebr for the ann-benchmarks project (erikbern/ann-benchmarks); README.md beside this file says how it gets there."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import bebr

from ..base.module import BaseANN

_METRICS = {"angular": "cosine", "euclidean": "l2"}
# What the numbers of query_args in config.yml mean, by index.
_SETTINGS = {"flat": ("oversampling",), "ivf": ("nprobe",), "graph": ("ef_search",)}


class Bebr(BaseANN):
    """One index of bebr over codes that it trains on the rows it is given.

    metric: ``"angular"`` or ``"euclidean"``. index: ``"flat"``, ``"ivf"`` or ``"graph"``. params: ``bits`` a dimension,
    1 to 8, for ivf ``nlist`` (at most one for 16 rows is made) and for graph ``max_degree`` besides.
    """

    def __init__(self, metric: str, index: str, params: dict[str, int]) -> None:
        if metric not in _METRICS:
            raise ValueError(f"metric: got {metric!r}, wanted one of {', '.join(_METRICS)}")
        if index not in _SETTINGS:
            raise ValueError(f"index: got {index!r}, wanted one of {', '.join(_SETTINGS)}")
        wanted = {"bits"} | {"ivf": {"nlist"}, "graph": {"max_degree"}}.get(index, set())
        if set(params) != wanted:
            raise ValueError(f"params of {index}: got {sorted(params)}, wanted {sorted(wanted)}")
        self._metric, self._kind, self._params = _METRICS[metric], index, params
        self._lists = params.get("nlist", 0)
        self._setting: dict[str, int] = {}
        self._index: Any = None
        self._found: list[Any] = []
        self.name = f"bebr {index} {params}"

    def fit(self, X: Any) -> None:
        """Train on the rows, then store them."""
        rows = np.ascontiguousarray(X, dtype=np.float32)
        count, dim = rows.shape
        model = bebr.train(rows, bytes_per_vector=_bytes(self._params["bits"], dim), metric=self._metric, seed=0)
        if self._kind == "flat":
            self._index = bebr.FlatIndex(model)
        elif self._kind == "ivf":
            self._lists = min(self._params["nlist"], -(-count // 16))
            self._index = bebr.IVFIndex(model, nlist=self._lists, seed=0)
        else:
            self._index = bebr.GraphIndex(model, max_degree=self._params["max_degree"])
        self._index.add(rows)

    def set_query_arguments(self, *values: int) -> None:
        """One number for each setting of the index; 0 leaves a setting to bebr."""
        names = _SETTINGS[self._kind]
        if len(values) != len(names):
            raise ValueError(f"query_args of {self._kind}: got {len(values)} numbers, wanted {', '.join(names)}")
        self._setting = {name: value for name, value in zip(names, values, strict=True) if value}
        self.name = f"bebr {self._kind} {self._params} {self._setting}"
        if "nprobe" in self._setting:
            self._setting["nprobe"] = min(self._setting["nprobe"], self._lists)
        bebr.set_num_threads(1)  # the project's rule for single queries

    def query(self, q: Any, n: int) -> Any:
        """Rows of the ``n`` best, best first; fewer where the search found fewer."""
        return _found(self._index.search(np.asarray(q, dtype=np.float32)[None], n, **self._setting).ids[0])

    def batch_query(self, X: Any, n: int) -> None:
        """All queries in one call, on every CPU that this process may use."""
        bebr.set_num_threads(len(os.sched_getaffinity(0)))
        ids = self._index.search(np.ascontiguousarray(X, dtype=np.float32), n, **self._setting).ids
        self._found = [_found(row) for row in ids]

    def get_batch_results(self) -> list[Any]:
        """What ``batch_query`` found: one array of rows a query."""
        return self._found

    def get_additional(self) -> dict[str, Any]:
        """Recorded with the result: bytes of a code, its factors included."""
        return {"code_bytes": self._index.binarizer.bytes_per_vector}

    def __str__(self) -> str:
        return self.name


def _bytes(bits: int, dim: int) -> int:
    """Of a code with so many bits for each of ``dim`` dimensions, and of its factor."""
    return 2 + -(-dim * bits // 8)


def _found(ids: Any) -> Any:
    """The project takes each answer for a row, so the -1 of a missing one must go."""
    return ids[ids >= 0]
