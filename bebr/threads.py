"""Threads of search and encoding; and those of numpy's BLAS and of torch: one for little work, as many for much.

The threads of a BLAS wait for one another by spinning. Beside busy processes a thread that spins holds the core that
another needs to finish its part (docs/experiments/blas-threads.md).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from bebr import core
from bebr.arrays import check_whole

# Multiply-adds of a run's largest product, or of a step down a gradient, from which threads may pay: 7,300 vectors of
# 384 dimensions.
WORTH_THREADS = 1 << 30

_lock = threading.Lock()
_limits: list[int] = []  # of the blocks that run now
_found: list[int] = []  # threads of each library before the first of them


def set_num_threads(n: int) -> None:
    """Set how many threads search and encoding use, the caller's included; ``ValueError`` unless 1 <= n <= 1024."""
    if check_whole(n, "num_threads") < 1:
        raise ValueError(f"num_threads is {n}: want 1 to 1024")
    core.set_num_threads(n)


def get_num_threads() -> int:
    """How many threads search and encoding use; at start, the number this process may run on."""
    return core.num_threads()


def wanted(multiply_adds: int) -> int:
    """How many threads work of this size should have."""
    return get_num_threads() if multiply_adds >= WORTH_THREADS else 1


@contextmanager
def blas_threads(multiply_adds: int) -> Iterator[None]:
    """In this block numpy's BLAS has as many threads as :func:`wanted` says, and never more than it had.

    The number is the process's: of blocks that run at once the smallest holds, and the last one restores it.
    """
    limit = wanted(multiply_adds)
    with _lock:
        if not _limits:
            _found[:] = [library.get_num_threads() for library in _libraries()]
        _limits.append(limit)
        _apply()
    try:
        yield
    finally:
        with _lock:
            _limits.remove(limit)
            _apply()


def _apply() -> None:
    for library, found in zip(_libraries(), _found, strict=True):
        # From 3.8 on threadpoolctl heeds only the first thread that sets a number, until that is forgotten.
        forget = getattr(library, "clear_controlling_thread", lambda force: None)
        forget(force=True)
        library.set_num_threads(min([found, *_limits]))
        forget(force=True)


@cache
def _libraries() -> list[Any]:
    """What is loaded by now, and so numpy's. One over OpenMP (faiss's) is left alone: each thread has a number of its
    own there."""
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [one for one in found if getattr(one, "threading_layer", None) != "openmp"]
