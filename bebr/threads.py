"""Threads of search and encoding, and of numpy's BLAS: a product takes as many as pay for it, and a small one stays
on its caller's.

The threads of a BLAS wait for one another by spinning. On an idle machine that costs nothing; beside busy processes a
thread that spins holds the core that another needs to finish its part. Training on 100 vectors of 384 dimensions took
47 s in place of 1.4 beside eight busy processes on two cores.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from bebr import core

# Multiply-adds of a product that is worth several threads: some ten milliseconds of one core, a few time slices.
WORTH_THREADS = 1 << 28
# Of a matrix product in an eigenvalue problem or a linear system of n columns: LAPACK works through blocks of so many.
_PANEL = 64


def set_num_threads(n: int) -> None:
    """Set how many threads search and encoding use, the caller's included; ``ValueError`` unless 1 <= n <= 1024."""
    if n < 1:
        raise ValueError(f"num_threads is {n}: want 1 to 1024")
    core.set_num_threads(n)


def get_num_threads() -> int:
    """How many threads search and encoding use; at start, the number this process may run on."""
    return core.num_threads()


def wanted(multiply_adds: int) -> int:
    """How many threads a product of that size should have: 1, or as many as search and encoding."""
    return get_num_threads() if multiply_adds >= WORTH_THREADS else 1


def product(a: Any, b: Any) -> Any:
    """``a @ b`` of matrices and vectors."""
    with blas(math.prod(a.shape) * (b.shape[1] if len(b.shape) > 1 else 1)):
        return a @ b


def eigh(a: Any) -> Any:
    """``numpy.linalg.eigh`` of a symmetric matrix [n, n]."""
    with blas(len(a) * len(a) * _PANEL):
        return np.linalg.eigh(a)


def solve(a: Any, b: Any) -> Any:
    """``numpy.linalg.solve`` of a [n, n] and b [n, d]."""
    with blas(len(a) * max(len(a), b.shape[1]) * _PANEL):
        return np.linalg.solve(a, b)


def qr(a: Any) -> Any:
    """``numpy.linalg.qr`` of a matrix [n, n]."""
    with blas(len(a) * len(a) * _PANEL):
        return np.linalg.qr(a)


@contextmanager
def blas(multiply_adds: int) -> Iterator[None]:
    """In this block numpy's BLAS has as many threads as :func:`wanted` says, and never more than it had."""
    shared, own = _libraries()
    limit = wanted(multiply_adds)
    found = [library.get_num_threads() for library in own]
    for library, n in zip(own, found, strict=True):
        library.set_num_threads(min(n, limit))
    shared.enter(limit)
    try:
        yield
    finally:
        shared.leave(limit)
        for library, n in zip(own, found, strict=True):
            library.set_num_threads(n)


class _Shared:
    """Libraries with one number of threads for the whole process: of blocks that run at once the smallest limit holds.
    When the last has left, the number is what it was before the first."""

    def __init__(self, libraries: list[Any]) -> None:
        self._libraries, self._lock = libraries, threading.Lock()
        self._found: list[int] = []
        self._active: list[int] = []

    def enter(self, limit: int) -> None:
        with self._lock:
            if not self._active:
                self._found = [library.get_num_threads() for library in self._libraries]
            self._active.append(limit)
            self._apply()

    def leave(self, limit: int) -> None:
        with self._lock:
            self._active.remove(limit)
            self._apply()

    def _apply(self) -> None:
        for library, found in zip(self._libraries, self._found, strict=True):
            # From 3.8 on threadpoolctl heeds only the first thread that sets a number, until that is forgotten.
            forget = getattr(library, "clear_controlling_thread", lambda force: None)
            forget(force=True)
            library.set_num_threads(min([found, *self._active]))
            forget(force=True)


@cache
def _libraries() -> tuple[_Shared, list[Any]]:
    """Those with one number for the process, and those with one for each thread: OpenBLAS over OpenMP."""
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    own = [one for one in libraries if getattr(one, "threading_layer", None) == "openmp"]
    return _Shared([one for one in libraries if one not in own]), own
