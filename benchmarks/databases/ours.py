"""bebr: a collection on disk, of codes alone, or beside vectors in int8."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

import bebr
from benchmarks.databases.base import Below, Setting
from benchmarks.datasets import Floats, Ids

_TRAIN = 65_536


class Bebr:
    """The model is trained on the first rows that are added."""

    settings: Sequence[Setting] = ({},)

    def __init__(self, folder: Path, keep: Literal["int8"] | None) -> None:
        self._db = bebr.open(folder)
        self._keep: Literal["int8"] | None = keep
        self._rows: Any = None

    def add(self, ids: Ids, vectors: Floats, fields: Mapping[str, Ids]) -> None:
        if self._rows is None:
            model = bebr.train(vectors[:_TRAIN], bytes_per_vector=vectors.shape[1] // 8 + 4, metric="cosine", seed=0)
            self._rows = self._db.create_collection("rows", model, keep=self._keep)
        columns = [fields[name].tolist() for name in fields]
        self._rows.upsert(ids, vectors, [dict(zip(fields, row, strict=True)) for row in zip(*columns, strict=True)])

    def finish(self) -> None:
        self._rows.settle()

    def search(self, query: Floats, k: int, below: Below | None, setting: Setting) -> Iterable[int]:
        filter = None if below is None else bebr.F(below.field) < below.bound
        found = self._rows.search(query, k, filter=filter).ids[0]
        return np.asarray(found[found >= 0]).tolist()

    def close(self) -> None:
        self._db.close()


def codes(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Bebr, str]:
    """A bit a dimension and 4 bytes: 52 bytes for 384."""
    return Bebr(folder, None), bebr.__version__


def kept(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Bebr, str]:
    """The same, and the best by code get exact scores."""
    return Bebr(folder, "int8"), bebr.__version__
