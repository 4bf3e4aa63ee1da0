"""Servers as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["computed", "started"]


def computed(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) makes it


@contextmanager
def started(*arguments: str) -> Iterator[tuple[str, int]]:
    """Address and number of a process ``python ARGUMENTS`` that serves, stopped at the end. It has its bytecode, as an
    installed program has: compiling bebr would be a third of its start. ``RuntimeError`` if it does not begin."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server did not start; it said {line!r} and left with status {process.wait(10)}")
        yield line.removeprefix("listening on ").strip(), process.pid
    finally:
        process.terminate()
        process.wait(30)
