"""Other engines behind one small interface, so that ``bebr tradeoff --peers`` and the benchmarks measure them alike.

Every peer here scans all rows: no graph, no pruning, so recall is that of the code and speed that of the scan. Nothing
is imported before ``available`` or ``missing`` is called; none of these libraries is needed to use bebr.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bebr.peers import faiss, lvq, rabitqlib, scann, usearch
from bebr.peers.base import Floats, Ids, Peer

__all__ = ["Peer", "PeerResult", "available", "measure", "missing", "recall"]

# module to import -> (distribution that brings it, its adapters)
_LIBRARIES: dict[str, tuple[str, Callable[[int, str, str], Iterator[Peer]]]] = {
    "faiss": ("faiss-cpu", faiss.peers),
    "rabitqlib": ("rabitqlib", rabitqlib.peers),
    "usearch": ("usearch", usearch.peers),
    "scann": ("scann", scann.peers),
    "svs": ("scalable-vs", lvq.svs_peers),
}


@dataclass(frozen=True)
class PeerResult:
    """One measurement: recall of the exact top ``k``, whole-batch queries a second, seconds spent before searching."""

    name: str
    library: str
    version: str
    bytes_per_vector: float
    k: int
    recall: float
    queries_per_second: float
    threads: int
    fit_seconds: float
    add_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON and CSV."""
        return asdict(self)


def available(dim: int, metric: str) -> list[Peer]:
    """Fresh adapters of every installed peer that takes vectors of ``dim`` under ``metric``, by library.

    ``metric`` is ``"cosine"``, ``"ip"`` or ``"l2"``; ValueError otherwise. What is not installed is in ``missing()``.
    """
    if metric not in ("cosine", "ip", "l2"):
        raise ValueError(f"metric: got {metric!r}, wanted 'cosine', 'ip' or 'l2'")
    found: list[Peer] = []
    for module, (distribution, peers) in _LIBRARIES.items():
        if _import(module) is not None:
            found.extend(peers(dim, metric, importlib.metadata.version(distribution)))
    found.extend(lvq.own_peers(dim, metric, importlib.metadata.version("bebr")))
    return found


def missing() -> list[str]:
    """One line for each peer library that is not installed, with the command that installs it."""
    lines = [
        f"{module} is not installed (pip install {distribution}): its codes are left out"
        for module, (distribution, _) in _LIBRARIES.items()
        if _import(module) is None
    ]
    if not lvq.intel() and _import("svs") is not None:
        lines.append("svs: its LVQ runs on Intel's CPUs alone: LVQ is measured by our own code only")
    return lines


def recall(found: Ids, truth: Ids) -> float:
    """Mean share of each row of ``truth`` that is in the same row of ``found``; both int64 ``[n, k]``."""
    hits = (found[:, :, None] == truth[:, None, :]).any(axis=1)
    return float(hits.mean())


def measure(
    peer: Peer, train: Floats, base: Floats, queries: Floats, truth: Ids, threads: int = 1, repeats: int = 3
) -> PeerResult:
    """Fit, add, search. ``truth``, int64 ``[queries, k]``, sets ``k``; the speed is the median of ``repeats``."""
    start = time.perf_counter()
    peer.fit(train)
    fitted = time.perf_counter()
    peer.add(base)
    added = time.perf_counter()
    k = truth.shape[1]
    found = peer.search(queries, k, threads)
    seconds = []
    for _ in range(repeats):
        before = time.perf_counter()
        peer.search(queries, k, threads)
        seconds.append(time.perf_counter() - before)
    return PeerResult(
        name=peer.name,
        library=peer.library,
        version=peer.version,
        bytes_per_vector=peer.bytes_per_vector,
        k=k,
        recall=recall(found, truth),
        queries_per_second=len(queries) / float(np.median(seconds)),
        threads=threads,
        fit_seconds=fitted - start,
        add_seconds=added - fitted,
    )


def _import(module: str) -> Any:
    """The module, or None where it is not installed. A module that is there but broken raises, as it should."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            return None
        raise
