"""What every peer offers, and what the adapters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bebr.arrays import Floats, Ids, normalized

__all__ = [
    "DEFAULT",
    "EF_BUILD",
    "EF_SEARCH",
    "Adapter",
    "Case",
    "Peer",
    "Setting",
    "by_ef_search",
    "by_nprobe",
    "prepared",
]

Setting = Mapping[str, float]
Sweeps = Sequence[Sequence[Setting]]

DEFAULT: Setting = {}  # the one setting of a flat peer
EF_SEARCH = (10, 12, 15, 20, 25, 30, 40, 60, 80, 120, 200, 400, 800)
# One width of the list kept while a graph is built, for all graphs: what most of these libraries have by default.
EF_BUILD = 200
_NPROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)


@dataclass(frozen=True)
class Case:
    """What peers are made for: vectors of ``dim`` dimensions under ``metric``, and the sizes that all of them share.

    nlist: numbers of inverted lists, each a variant of every IVF. max_degree: links of a node in a flat graph and in
    the lowest layer of an HNSW, whose M is half of it. Flat peers use neither.
    """

    dim: int
    metric: str
    nlist: tuple[int, ...] = ()
    max_degree: int = 32

    @property
    def m(self) -> int:
        """M of an HNSW."""
        return self.max_degree // 2


class Peer(Protocol):
    """One index of one library. Call ``fit`` once, ``add`` once, then ``search`` as often as wanted.

    Rows and queries are float32 ``[n, d]``, for cosine of unit length (:func:`prepared`). Until ``fit`` a peer can be
    pickled. ``threads=None`` leaves their number to the library.
    """

    name: str
    library: str
    version: str
    training_free: bool
    """Whether the code has no learned codebook or projection; a mean, a range or a random rotation does not count."""
    sweeps: Sweeps
    """Settings to measure, each sequence in order of rising effort. A flat peer has one, the empty setting."""

    @property
    def imports(self) -> Sequence[str]:
        """Modules that it imports, so that a caller can load them before it counts memory."""
        ...

    @property
    def bytes_per_vector(self) -> float:
        """Bytes kept for one row: code, factors, links, raw vectors for reranking; neither ids nor what all share.

        Of an approximate index it is known after ``add``.
        """
        ...

    def fit(self, train: Floats, threads: int | None = None) -> None:
        """Learn from a sample whatever the index learns."""
        ...

    def add(self, base: Floats, threads: int | None = None) -> None:
        """Encode and store the rows to search."""
        ...

    def search(self, queries: Floats, k: int, threads: int = 1, setting: Setting = DEFAULT) -> Ids:
        """Rows of the ``k`` best for each query, int64 ``[n, k]``, best first; -1 where there are fewer."""
        ...


class Adapter:
    """The facts of a peer, and a ``fit`` for those that learn nothing."""

    library: str
    imports: tuple[str, ...] = ()
    training_free = True

    def __init__(self, name: str, case: Case, version: str, sweeps: Sweeps = ((DEFAULT,),)) -> None:
        self.name, self.version, self.sweeps, self._case = name, version, sweeps, case
        self._index: Any = None

    def fit(self, train: Floats, threads: int | None = None) -> None:
        """Nothing to learn."""


def by_ef_search(**fixed: int) -> list[Setting]:
    """Widths of a graph's search, rising."""
    return [{"ef_search": ef, **fixed} for ef in EF_SEARCH]


def by_nprobe(nlist: int, **fixed: float) -> list[Setting]:
    """Numbers of lists to visit, rising to all of them."""
    return [{"nprobe": count, **fixed} for count in (*[count for count in _NPROBES if count < nlist], nlist)]


def prepared(x: Floats, metric: str) -> Floats:
    """float32, C-contiguous, and for cosine of unit length.

    Rows of unit length stay as they are to the bit: training is chaotic, and a last digit moves recall by .003.
    """
    x = np.ascontiguousarray(x, dtype=np.float32)
    unit = metric != "cosine" or np.abs(np.linalg.norm(x, axis=1) - 1).max(initial=0) < 1e-6
    return x if unit else normalized(x)


def size_of(path: str | Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    path = Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def rows_of(found: Any, k: int) -> Ids:
    """``found`` as int64 ``[n, k]``: some libraries answer one query with a plain row, of fewer ids if they found no
    more, which are made up by -1."""
    ids = np.asarray(found).astype(np.int64)
    if ids.ndim == 1 and len(ids) < k:
        ids = np.pad(ids, (0, k - len(ids)), constant_values=-1)
    return ids.reshape(-1, k)
