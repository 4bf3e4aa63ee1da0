"""LanceDB in the process: a table with an index of RaBitQ codes in lists, and a BTREE of each field."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.databases.base import Below, Setting, version
from benchmarks.datasets import Floats, Ids

_LISTED = 1 << 16  # fewer rows than this are searched without an index, as its documentation advises


class Lance:
    """Codes of a bit a dimension, as bebr's smallest are about; the best by code get exact scores (`refine_factor`)."""

    settings: Sequence[Setting] = ({"nprobes": 20, "refine_factor": 4}, {"nprobes": 50, "refine_factor": 10})
    efforts = tuple({"nprobes": n, "refine_factor": m} for n in (5, 10, 20, 50, 100) for m in (2, 4, 10))

    def __init__(self, folder: Path, dim: int, fields: Sequence[str]) -> None:
        self._db: Any = importlib.import_module("lancedb").connect(str(folder))
        self._arrow: Any = importlib.import_module("pyarrow")
        self._dim, self._fields = dim, fields
        self._table: Any = None

    def add(self, ids: Ids, vectors: Floats, fields: Mapping[str, Ids]) -> None:
        vector = self._arrow.FixedSizeListArray.from_arrays(self._arrow.array(vectors.ravel()), self._dim)
        rows = self._arrow.table({"id": ids, "vector": vector, **fields})
        if self._table is None:
            self._table = self._db.create_table("rows", rows)
        else:
            self._table.add(rows)

    def finish(self) -> None:
        self._table.optimize()
        kinds: Any = importlib.import_module("lancedb.index")
        for name in self._fields:
            self._table.create_index(name, config=kinds.BTree())
        if self._table.count_rows() >= _LISTED:
            self._table.create_index("vector", config=kinds.IvfRq(distance_type="cosine"))

    def search(self, query: Floats, k: int, below: Below | None, setting: Setting) -> Iterable[int]:
        asked = self._table.search(query).distance_type("cosine").limit(k).select(["id", "_distance"])
        asked = asked.nprobes(setting["nprobes"]).refine_factor(setting["refine_factor"])
        if below is not None:
            asked = asked.where(f"{below.field} < {below.bound}", prefilter=True)
        found: list[int] = asked.to_arrow()["id"].to_pylist()
        return found

    def close(self) -> None:
        self._table = self._db = None


def make(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Lance, str]:
    installed = version("lancedb")
    return Lance(folder, dim, fields), installed
