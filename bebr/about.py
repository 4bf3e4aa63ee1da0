"""What this build is, and what it found on this machine."""

from __future__ import annotations

from typing import Any

from bebr import core


def info() -> dict[str, Any]:
    """Version, instruction sets (chosen, runnable here), threads and the file format version, as ``bebr info``
    prints."""
    return {
        "version": core.version,
        "isa": core.isa(),
        "runnable_isas": core.runnable_isas(),
        "threads": core.num_threads(),
        "file_version": core.file_version,
        "cuda": "not in this build",
    }
