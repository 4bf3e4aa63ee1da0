"""Admission by memory: how many bytes the calls in progress may hold, and how much memory this process may use."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bebr import core
from bebr.errors import LimitExceeded

# Copies of a request that a call holds at its peak: as received, parsed, as a column, and normalised.
COPIES = 4
# The last quarter of the budget is kept for calls that hold less than this, so that a few large ones cannot keep a
# small search out.
SMALL_BYTES = 1 << 20
# Bytes of an answer while its reply is made: id and score, as found and as sent.
ANSWER_BYTES = 32
_SHARE = 4  # a quarter of the memory: the other quarters are for collections and the system's file cache


class Budget:
    """Bytes that calls in progress may hold together, those that a front answers included."""

    def __init__(self, total: int) -> None:
        self.shared = core.ByteBudget(total)

    @property
    def total(self) -> int:
        return self.shared.total

    @property
    def held(self) -> int:
        return self.shared.held

    @contextmanager
    def hold(self, size: int, what: str) -> Iterator[None]:
        """Counts ``size`` bytes for the length of a block. ``LimitExceeded``, before any work, if they are too many."""
        most = self.total if size <= SMALL_BYTES else largest(self.total)
        if not self.shared.take(size, most):
            raise LimitExceeded(
                f"{what} needs about {size} bytes of memory; calls in progress hold {self.held} of the {most} that "
                "this server gives them: repeat it later, send less at once, or start the server with a larger "
                "max_memory_bytes"
            )
        try:
            yield
        finally:
            self.shared.give_back(size)


def largest(total: int) -> int:
    """The most bytes that large calls may hold of a budget of ``total``."""
    return total - total // 4


def default_budget() -> int:
    """A quarter of the memory that this process may use."""
    return usable_memory() // _SHARE


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes that this process may use: the least of the machine's memory, its control groups' limits and its own."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_group_limits(root)]
    limits += [soft for soft in (resource.getrlimit(resource.RLIMIT_AS)[0],) if soft != resource.RLIM_INFINITY]
    return min(limits)


def _group_limits(root: Path) -> Iterator[int]:
    """The limits of this process's control group and of those above it (versions 1 and 2); "max" is none."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group = mount / path.lstrip("/")
        # In a container the path is often that of the host, and the group's files lie at the mount itself.
        for folder in (folder for folder in (group, *group.parents) if folder.is_relative_to(mount)):
            for name in ("memory.max", "memory.limit_in_bytes"):
                try:
                    yield int((folder / name).read_text())
                except (OSError, ValueError):
                    continue
