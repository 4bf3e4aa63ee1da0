"""Approximate indexes of bebr and of other libraries behind one small interface; one file a library.

Nothing is imported before an engine is built: what is installed is asked of the package metadata.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator

from benchmarks.ann_peers import faiss, hnswlib, ours, rabitqlib, scann, svs, usearch
from benchmarks.ann_peers.base import Case, Engine, Floats, Ids, Setting

__all__ = ["Case", "Engine", "Floats", "Ids", "Setting", "engines", "kept_models", "missing"]

kept_models = ours.kept_models

# distribution -> its adapters, given the installed version
_LIBRARIES: dict[str, Callable[[Case, str], Iterator[Engine]]] = {
    "faiss-cpu": faiss.engines,
    "hnswlib": hnswlib.engines,
    "usearch": usearch.engines,
    "scann": scann.engines,
    "rabitqlib": rabitqlib.engines,
    "scalable-vs": svs.engines,
}


def engines(case: Case) -> list[Engine]:
    """Ours, then those of every installed library. What is not installed is in ``missing()``."""
    found: list[Engine] = list(ours.engines(case))
    for distribution, adapters in _LIBRARIES.items():
        version = _version(distribution)
        if version is not None:
            found.extend(adapters(case, version))
    return found


def missing() -> list[str]:
    """One line for each thing left out and why: libraries with the command that installs them, indexes, codes."""
    lines = [
        f"{distribution} is not installed (pip install {distribution}): its indexes are left out"
        for distribution in _LIBRARIES
        if _version(distribution) is None
    ]
    if _version("faiss-cpu") is None and _version("rabitqlib") is not None:
        lines.append("rabitqlib's IVF and HNSW take centroids, which faiss finds: they end with an error without faiss")
    return lines + ours.missing() + (svs.missing() if _version("scalable-vs") is not None else [])


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
