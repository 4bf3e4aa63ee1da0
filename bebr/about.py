"""What this build is, and what it found on this machine."""

from __future__ import annotations

from typing import Any

from bebr import core
from bebr.device import found

version: str = core.version


def info() -> dict[str, Any]:
    """Facts about this build and machine, as ``bebr info`` prints them: version, the instruction set in use and those
    that can run here, threads, file format version, and CUDA devices or the reason why there are none."""
    return {
        "version": version,
        "isa": core.isa(),
        "runnable_isas": core.runnable_isas(),
        "threads": core.num_threads(),
        "file_version": core.file_version,
        "cuda": found(),
    }
