"""What every engine offers, and what the adapters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["EFS", "EF_BUILD", "Case", "Engine", "Floats", "Ids", "Setting", "by_ef", "probes", "rows_of", "size_of"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Setting = Mapping[str, float]

EFS = (10, 12, 15, 20, 25, 30, 40, 60, 80, 120, 200, 400, 800)
# One width of the list kept while a graph is built, for all graphs: what most of these libraries have by default.
EF_BUILD = 200
_PROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)


@dataclass(frozen=True)
class Case:
    """What engines are made for: rows of ``dim`` under ``metric``, and the sizes that all of them share.

    lists: inverted lists, each number a variant of every IVF. neighbors: M of a graph; its lowest layer has twice as
    many links. bytes: sizes of our codes. folder: where one engine leaves a model for the next.
    """

    dim: int
    metric: str
    rows: int
    lists: tuple[int, ...]
    neighbors: int
    bytes: tuple[int, ...]
    folder: Path


class Engine(Protocol):
    """One index of one library. It is made without importing the library and pickled to the process that builds it.

    Rows and queries are float32 ``[n, d]``; under cosine they come with unit length.
    """

    name: str
    library: str
    version: str
    imports: Sequence[str]
    """Modules to import before memory is counted."""
    sweeps: Sequence[Sequence[Setting]]
    """Settings to measure, each sequence in order of rising effort."""

    @property
    def bytes_per_vector(self) -> float:
        """Bytes kept for one row: code, factors, links, raw vectors for reranking; not its id, not what all share."""
        ...

    def build(self, base: Floats, train: Floats, threads: int = 1) -> float:
        """Learn from ``train`` and store ``base``; the seconds that took."""
        ...

    def search(self, queries: Floats, k: int, setting: Setting, threads: int = 1) -> Ids:
        """Rows of the ``k`` best for each query, int64 ``[n, k]``, best first; -1 where there are fewer."""
        ...


def by_ef(**fixed: int) -> list[Setting]:
    """Widths of a graph's search, rising."""
    return [{"ef": ef, **fixed} for ef in EFS]


def probes(lists: int, **fixed: float) -> list[Setting]:
    """Numbers of lists to visit, rising to all of them."""
    return [{"probes": count, **fixed} for count in (*[count for count in _PROBES if count < lists], lists)]


def size_of(path: str | Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    path = Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def rows_of(found: Any, k: int) -> Ids:
    """``found`` as int64 ``[n, k]``: one query comes back as a plain row from some libraries."""
    return np.asarray(found).astype(np.int64).reshape(-1, k)
