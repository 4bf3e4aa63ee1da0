"""What a figure was measured on and with: the facts that every result file carries."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bebr

__all__ = ["commit", "facts", "pinned"]

_LIBRARIES = ("numpy", "faiss-cpu", "hnswlib", "rabitqlib", "usearch", "scann", "scalable-vs", "torch")


def facts(threads: int) -> dict[str, Any]:
    """Processor, ISA chosen, threads, versions and commit, as plain values for JSON."""
    versions: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "threads": threads,
        "bebr": bebr.info(),
        "libraries": versions,
    }


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Hold bebr and every BLAS and OpenMP pool in the process to ``threads``."""
    threadpool_limits: Any = importlib.import_module("threadpoolctl").threadpool_limits
    before = bebr.get_num_threads()
    bebr.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        bebr.set_num_threads(before)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # no such file outside Linux
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of this tree, with a mark where it has been changed since; None outside a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None
