"""What a figure was measured on and with: the facts that every result file carries."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bebr

__all__ = ["commit", "facts", "pauses", "pinned"]

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


# Prints the milliseconds between two looks at the clock, where they are over 20.
_SPIN = """
import sys, time
last = time.perf_counter()
end = last + float(sys.argv[1])
while last < end:
    now = time.perf_counter()
    if now - last > .02:
        print(1e3 * (now - last))
    last = now
"""


def pauses(seconds: float) -> list[float]:
    """How long this machine stands still by itself while busy: milliseconds of each pause over 20, the longest first.

    A process for each processor does nothing but look at the clock. A virtual machine whose host takes a processor
    away for 100 ms makes the slowest call of anything that slow; no latency below these can be shown on it, but beside
    an idle part of its processors (docs/experiments/machine-pauses.md).
    """
    command = [sys.executable, "-I", "-c", _SPIN, str(seconds)]
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spinning = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(cpus)]
    return sorted((float(line) for one in spinning for line in one.communicate()[0].split()), reverse=True)


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
