"""What every database of vectors with fields offers to a comparison."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.datasets import Floats, Ids
from benchmarks.wires import Wire

Setting = Mapping[str, Any]
"""Effort of a search, by the names of the database itself."""


@dataclass(frozen=True)
class Below:
    """Rows whose field, a whole number, is below a bound."""

    field: str
    bound: int


class Absent(Exception):
    """The database is not installed; the message says how to."""


class Database(Protocol):
    """Rows of one table. `add` as often as wanted, `finish` once, then `search`. Vectors are of length 1 and are
    compared by cosine. ``efforts``, where it has them: settings in small steps, the least first."""

    settings: Sequence[Setting]

    def add(self, ids: Ids, vectors: Floats, fields: Mapping[str, Ids]) -> None:
        """Rows int64[n], float32[n, d], each with a value int64 of each field."""
        ...

    def finish(self) -> None:
        """Builds what searches and filters go by."""
        ...

    def search(self, query: Floats, k: int, below: Below | None, setting: Setting) -> Iterable[int]:
        """The ids of the k nearest rows that match, best first; fewer where the database finds fewer."""
        ...

    def close(self) -> None: ...


class Wired(Database, Protocol):
    """A database that is a server, whose protocol a light client speaks. ``pid``: of its process."""

    @property
    def pid(self) -> int: ...

    def wire(self, k: int, setting: Setting) -> Wire:
        """Of searches for the k nearest rows."""
        ...


class Maker(Protocol):
    """Opens an empty database of vectors of so many dimensions in a folder; and its version. `Absent` where it is not
    installed."""

    def __call__(self, folder: Path, dim: int, fields: Sequence[str]) -> tuple[Database, str]: ...


def version(*distributions: str) -> str:
    """Of the first of some Python packages; `Absent` where one is missing."""
    try:
        first, *_ = (importlib.metadata.version(name) for name in distributions)
        return first
    except importlib.metadata.PackageNotFoundError as error:
        raise Absent(f"{error.name} is not installed (pip install {error.name}): left out") from error
