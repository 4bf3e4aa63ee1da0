"""How instructions are counted in an emulator's log."""

from __future__ import annotations

import pytest

from benchmarks import instructions

CASE = instructions.Case("select", 384, 1, 1)
# Two runs of instructions, the second executed twice; it is translated again elsewhere, where it is shorter.
LOG = """\
IN: start
0x0100:  d503245f  bti      c
0x0104:  97ffeec8  bl       #0x200

Trace 0: 0x7f00 [81/0100/01/02] start
----------------
IN:
0x0200:  d503245f  bti      c
0x0204:  d280001d  mov      x29, #0
0x0208:  54000041  b.ne     #0x200

Trace 0: 0x7f40 [81/0200/01/02]
Trace 0: 0x7f40 [81/0200/01/02]
IN:
0x0200:  d503245f  bti      c
Trace 0: 0x7f80 [81/0200/01/03]
"""


@pytest.fixture
def emulator(monkeypatch, tmp_path):
    """Put a program in the emulator's place; returns what takes its log and its exit status."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(instructions, "built", lambda name, arm: tmp_path / name)

    def put(log: str, status: int = 0) -> None:
        program = tmp_path / "qemu-aarch64-static"
        program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{log}END\nexit {status}\n")
        program.chmod(0o755)

    return put


def test_each_run_of_instructions_counts_as_often_as_it_is_executed(emulator):
    emulator(LOG)
    assert instructions.executed("neon", CASE, 1) == 2 + 2 * 3 + 1


def test_an_emulator_that_fails_is_named(emulator):
    emulator(LOG, status=3)
    with pytest.raises(RuntimeError, match="under qemu: exit status 3"):
        instructions.executed("neon_dot", CASE, 1)
