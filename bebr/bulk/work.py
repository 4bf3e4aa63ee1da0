"""The folder beside the output that a build works in: what is finished there survives a kill."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats
from bebr.files import replacing, write_atomically

FIRST_ROWS = 1024
_BLOCK = 1 << 16  # rows
_BEGUN = {"lock", "build.json"}  # all there is before the model is trained


class Work:
    """``build.json`` (what is built, of what), ``model.safetensors``, ``centroids.npy``, ``chunk-000000.bebr``, ..."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    @contextmanager
    def of(output: Path) -> Iterator[Work]:
        """That of ``output``, held alone; ``ValueError`` where another process builds there. A build that ends before
        anything is finished leaves no folder."""
        folder = output.with_name(output.name + ".build")
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{output}: another process is building it in {folder}") from None
            try:
                yield Work(folder)
            finally:
                if {path.name for path in folder.glob("*")} <= _BEGUN:
                    shutil.rmtree(folder, ignore_errors=True)

    def begin(self, options: dict[str, Any]) -> dict[str, Any]:
        """Fix what this folder builds. Options that a build cannot change on its way ("fixed") must be those it
        began with, else ``ValueError``; returns all as they were at its beginning."""
        path = self.folder / "build.json"
        options = json.loads(json.dumps(options))
        if not path.exists():
            write_atomically(path, json.dumps(options, indent=1).encode())
            return options
        began: dict[str, Any] = json.loads(path.read_bytes())
        for name, value in options["fixed"].items():
            if began["fixed"].get(name) != value:
                raise ValueError(
                    f"{self.folder} holds a build that began with {name} {_short(began['fixed'].get(name))}, not "
                    f"{_short(value)}: give that again to go on, or delete the folder to begin anew"
                )
        return began

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def _centroids(self) -> Path:
        return self.folder / "centroids.npy"

    def centroids(self) -> Floats | None:
        """Those found, if they are."""
        return np.load(self._centroids) if self._centroids.exists() else None

    def keep_centroids(self, centroids: Floats) -> None:
        with replacing(self._centroids) as temporary:
            np.save(temporary, centroids)

    def chunk(self, number: int) -> Path:
        return self.folder / f"chunk-{number:06d}.bebr"

    def clear_temporaries(self) -> None:
        """What a killed process had half written."""
        for path in self.folder.glob("*.tmp*"):
            path.unlink()

    def present(self) -> int:
        """Bytes of the chunks."""
        return sum(path.stat().st_size for path in self.folder.glob("chunk-*.bebr"))

    def remove(self) -> None:
        shutil.rmtree(self.folder)


def fingerprint(rows: NDArray[Any]) -> str:
    """Of all rows of an array, read block by block: what was learnt and written of another one is of no use."""
    digest = hashlib.sha256()
    for start in range(0, len(rows), _BLOCK):
        digest.update(np.ascontiguousarray(rows[start : start + _BLOCK]).data)
    return digest.hexdigest()[:16]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
