"""Other engines behind one small interface, so that ``bebr tradeoff --peers`` and the benchmarks measure them alike.

One file a library. ``flat`` are its codes with every row looked at: recall is that of the code and speed that of the
scan. ``approximate`` are its indexes. Which libraries are installed is asked of the package metadata; none is needed to
use bebr, and none is imported before a peer needs it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Literal

from bebr.binarizer.config import METRICS
from bebr.peers import faiss, hnswlib, lvq, rabitqlib, scann, svs, usearch
from bebr.peers.base import DEFAULT, Adapter, Case, Peer, Setting, by_ef_search, by_nprobe, prepared

__all__ = [
    "DEFAULT",
    "Adapter",
    "Case",
    "Peer",
    "Setting",
    "approximate",
    "by_ef_search",
    "by_nprobe",
    "flat",
    "missing",
    "prepared",
    "versions",
]

Face = Literal["flat", "approximate"]
Adapters = Callable[[Case, str], Iterator[Peer]]

# distribution -> its adapters, given the installed version
_LIBRARIES: dict[Face, dict[str, Adapters]] = {
    "flat": {
        "faiss-cpu": faiss.flat,
        "rabitqlib": rabitqlib.flat,
        "usearch": usearch.flat,
        "scann": scann.flat,
        "scalable-vs": svs.flat,
        "bebr": lvq.flat,
    },
    "approximate": {
        "faiss-cpu": faiss.approximate,
        "hnswlib": hnswlib.approximate,
        "usearch": usearch.approximate,
        "scann": scann.approximate,
        "rabitqlib": rabitqlib.approximate,
        "scalable-vs": svs.approximate,
    },
}


def flat(dim: int, metric: str) -> list[Peer]:
    """Every code of every installed library that takes vectors of ``dim`` under ``metric``.

    ``metric`` is ``"cosine"``, ``"ip"`` or ``"l2"``; ValueError otherwise. What is not installed is in ``missing()``.
    """
    return _installed("flat", Case(dim, metric))


def approximate(case: Case) -> list[Peer]:
    """Every approximate index of every installed library, in the sizes of ``case``."""
    return _installed("approximate", case)


def _installed(face: Face, case: Case) -> list[Peer]:
    if case.metric not in METRICS:
        raise ValueError(f"metric: got {case.metric!r}, wanted 'cosine', 'ip' or 'l2'")
    versions = {name: installed(name) for name in _LIBRARIES[face]}
    return [
        peer for name, made in _LIBRARIES[face].items() if (version := versions[name]) for peer in made(case, version)
    ]


def missing(face: Face = "flat") -> list[str]:
    """One line for each thing left out and why: libraries with the command that installs them, codes."""
    absent = [name for name in _LIBRARIES[face] if installed(name) is None]
    lines = [f"{name} is not installed (pip install {name}): left out" for name in absent]
    if face == "approximate" and "faiss-cpu" in absent and "rabitqlib" not in absent:
        lines.append("rabitqlib's IVF and HNSW take centroids, which faiss finds: they end with an error without faiss")
    return lines + (svs.left_out() if "scalable-vs" not in absent else [])


def versions(face: Face = "flat") -> dict[str, str]:
    """The libraries that are installed and their versions, but bebr."""
    found = {name: installed(name) for name in _LIBRARIES[face] if name != "bebr"}
    return {name: version for name, version in found.items() if version is not None}


def installed(distribution: str) -> str | None:
    """Its version, or None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
