"""What a process of this machine takes of it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def memory(pid: int) -> int:
    """Bytes that it has in memory; 0 where there is no such process, or no /proc."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class Cores:
    """How many a process computes with, since the last look at it; 0 for one that is new."""

    def __init__(self) -> None:
        self._pid, self._seconds, self._when, self._cores = 0, 0.0, 0.0, 0.0

    def look(self, pid: int) -> float:
        now, seconds = time.monotonic(), _computed(pid)
        if pid != self._pid:
            self._cores = 0.0
        elif now - self._when < _LEAST:
            return self._cores
        else:
            self._cores = max(seconds - self._seconds, 0.0) / (now - self._when)
        self._pid, self._seconds, self._when = pid, seconds, now
        return self._cores


_LEAST = 0.5  # seconds between two looks, for the system counts hundredths


def _computed(pid: int) -> float:
    """Seconds of a processor that it has had."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
