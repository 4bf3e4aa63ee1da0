"""What every peer offers, and what the adapters share."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ids", "Peer", "prepared"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class Peer(Protocol):
    """One code of one library. Call ``fit`` once, ``add`` once, then ``search`` as often as wanted.

    Inputs are float32 ``[n, d]``; with ``metric="cosine"`` the adapter normalises them itself.
    """

    name: str
    library: str
    version: str
    training_free: bool
    """Whether the code has no learned codebook or projection; a mean, a range or a random rotation does not count."""

    @property
    def bytes_per_vector(self) -> float:
        """Stored bytes of one vector, its factors included; ids and trained parameters are left out."""
        ...

    def fit(self, train: Floats) -> None:
        """Learn whatever the code learns from a sample."""
        ...

    def add(self, base: Floats) -> None:
        """Encode and store the rows to search."""
        ...

    def search(self, queries: Floats, k: int, threads: int = 1) -> Ids:
        """Rows of the ``k`` best for each query, int64 ``[n, k]``, best first; -1 where there are fewer."""
        ...


def prepared(x: Floats, metric: str) -> Floats:
    """float32, C-contiguous, and for cosine of unit length."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    if metric != "cosine":
        return x
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)
