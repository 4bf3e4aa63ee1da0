"""The same code on every instruction set that this machine runs, each in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import bebr

ARM = platform.machine() in ("aarch64", "arm64")
# Of this machine's architecture, each containing those before it; but many machines have avx512 without avxvnni.
ISAS = ("scalar", "neon", "neon_dot", "neon_i8mm") if ARM else ("scalar", "avx2", "avxvnni", "avx512", "amx")


def answers(code: str, *arguments: str) -> dict[str, list[str]]:
    """By instruction set, the words that ``code`` prints after the name of the one it used. Skips a test where there is
    one alone."""
    isas = bebr.info()["runnable_isas"]
    if len(isas) == 1:
        pytest.skip("this machine runs scalar only")
    found = {}
    for isa in isas:
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=os.environ | {"BEBR_ISA": isa},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        used, *found[isa] = result.stdout.split()
        assert used == isa
    return found
