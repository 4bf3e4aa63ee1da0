"""The most memory that a piece of work had resident, over what was there before it."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["Peak", "release", "status"]


class Peak:
    """``with Peak() as peak: work()``, then ``peak.bytes``.

    Linux keeps the highest resident size of a process and can forget it (proc(5): clear_refs), so work before does not
    count. Elsewhere, and where the kernel refuses, the mark of the whole process (getrusage) stands in: then work that
    stays below what went before counts as nothing. ``peak.exact`` says which of the two it was.
    """

    def __enter__(self) -> Peak:
        self.bytes = 0
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._before, self.exact = status("VmRSS"), True
        except OSError:
            self._before, self.exact = _highest(), False
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = max(0, (status("VmHWM") if self.exact else _highest()) - self._before)


def release() -> None:
    """Give freed memory back to the system, where the C library can (glibc)."""
    gc.collect()
    with suppress(AttributeError):  # of another C library
        ctypes.CDLL(None).malloc_trim(0)


def status(field: str, process: int | str = "self") -> int:
    """Bytes of one field of proc(5)'s status of a process. ``OSError`` outside Linux."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{process}/status has no {field}")


def _highest() -> int:
    """Bytes; macOS counts in bytes already, others in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
