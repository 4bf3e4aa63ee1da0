"""bebr served by `bebr serve`, asked over gRPC: codes beside vectors in int8, or codes alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

import bebr
from benchmarks.databases.base import Below, Setting
from benchmarks.datasets import Floats, Ids
from benchmarks.wires import Wire
from benchmarks.wires.points import Points

_TRAIN = 65_536


class Served:
    """The model is trained on the first rows that are added. Few rows are in a flat file, and scanned whatever
    ``nprobe`` says."""

    settings: Sequence[Setting] = ({}, {"oversampling": 20}, {"oversampling": 50})
    efforts = tuple({"nprobe": lists} for lists in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256))

    def __init__(self, folder: Path, keep: Literal["int8"] | None) -> None:
        script = f"from bebr.serve import serve; serve({str(folder / 'data')!r}, port=0)"
        command = [sys.executable, "-c", script]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._target = self._process.stdout.readline().split()[-1]
        self._client = bebr.connect(self._target, timeout=None)
        self._keep: Literal["int8"] | None = keep
        self._rows: Any = None

    def wire(self, k: int, setting: Setting) -> Wire:
        return Points(self._target, "rows", k, setting)

    @property
    def pid(self) -> int:
        return self._process.pid

    def add(self, ids: Ids, vectors: Floats, fields: Mapping[str, Ids]) -> None:
        if self._rows is None:
            model = bebr.train(vectors[:_TRAIN], bytes_per_vector=vectors.shape[1] // 8 + 4, metric="cosine", seed=0)
            self._rows = self._client.create_collection("rows", model, keep=self._keep)
        self._rows.upsert(ids, vectors)

    def finish(self) -> None:
        self._rows.settle()

    def search(self, query: Floats, k: int, below: Below | None, setting: Setting) -> Iterable[int]:
        return np.asarray(self._rows.search(query, k, **setting).ids[0]).tolist()

    def close(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(60)


def kept(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Served, str]:
    return Served(folder, "int8"), bebr.__version__


def codes(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Served, str]:
    return Served(folder, None), bebr.__version__
