"""What this build is, and what it found on this machine."""

from __future__ import annotations

from typing import Any

from bebr import core
from bebr.device import found

version: str = core.version


def info() -> dict[str, Any]:
    """Version, instruction sets (chosen, runnable here), threads, the file format version, and CUDA's devices or why
    there are none, as ``bebr info`` prints."""
    return {
        "version": version,
        "isa": core.isa(),
        "runnable_isas": core.runnable_isas(),
        "threads": core.num_threads(),
        "file_version": core.file_version,
        "cuda": found(),
    }
