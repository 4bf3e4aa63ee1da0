"""Forks of a test's process."""

from __future__ import annotations

import gc
import os


def fork() -> int:
    """`os.fork`, after which the child's collector leaves alone what its parent had. Earlier tests in this process may
    have left servers of gRPC; to collect one in a fork, which has none of its threads, takes for ever."""
    gc.freeze()
    child = os.fork()
    if child:
        gc.unfreeze()
    return child
