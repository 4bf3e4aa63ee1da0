"""Instructions a code: NEON's kernels under an emulator beside AVX2's under callgrind.

    python -m benchmarks.instructions --json results/instructions.json

No ARM machine is needed, and no speed is measured: a count is an estimate of one. Each figure is the difference
between a program's second and third pass over the same rows (bebr_bench of csrc/bench, built first, for this machine
and by the cross compiler), so nothing of its start is in it. Needs valgrind, g++-aarch64-linux-gnu and
qemu-user-static.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.table import Table

from benchmarks import machine, output
from benchmarks.kernels import built

NEEDS = ("valgrind", "aarch64-linux-gnu-g++", "qemu-aarch64-static")
ISAS = ("avx2", "neon", "neon_dot", "neon_i8mm")
ROWS = 2048
# Without dotprod these are the specification's, and no search takes them.
NOT_OF_NEON = ("dot_expanded", "expand_tail", "dot_tail")
ANY_PLANES = ("expand", "complete")


@dataclass(frozen=True)
class Case:
    """One kernel at one size, as bebr_bench takes it; ``pairs``: what a count is divided by."""

    kernel: str
    dims: int
    planes: int
    queries: int
    rows: int = ROWS

    @property
    def pairs(self) -> int:
        return self.rows * self.queries


CASES = (
    Case("scan_table", 384, 1, 1),
    Case("scan_table", 384, 1, 4),
    Case("scan_batch", 384, 1, 64),
    Case("complete", 384, 4, 1),
    Case("dot_bits8", 384, 1, 1),
    Case("dot_bits16", 384, 4, 1),
    # Where there is none, as in AVX2, dot_bits16: what a graph's whole codes take.
    Case("dot_digits", 384, 4, 1),
    Case("dot_int8", 384, 8, 1),
    Case("raw_dot_i8", 384, 8, 1),
    Case("raw_dot_f16", 384, 8, 1),
    Case("raw_l2_f16", 384, 8, 1),
    # Of more rows: a pass's own work, the clock and a line of output, is as much as this kernel's over 2,048.
    Case("select", 384, 1, 1, rows=10 * ROWS),
    Case("select_few", 384, 1, 1, rows=10 * ROWS),
    Case("expand", 384, 4, 1),
    Case("dot_expanded", 384, 1, 32),
    Case("expand_tail", 384, 4, 1),
    Case("dot_tail", 384, 4, 1),
    Case("gemm", 64, 1, 1),
    Case("project", 64, 1, 1),
    Case("project", 384, 1, 1, rows=1),
    Case("descend", 384, 1, 1),
    # Of neither set: what compilers make of portable loops.
    Case("descent_follow", 384, 1, 1),
    Case("descent_energy", 384, 1, 1),
    Case("permute", 384, 4, 1),
)


@dataclass(frozen=True)
class Row:
    """Instructions a row and query; ``ratio``: to AVX2's."""

    kernel: str
    dims: int
    planes: int
    queries: int
    isa: str
    instructions: float
    ratio: float


def executed(isa: str, case: Case, passes: int) -> int:
    """Instructions of the whole program. ``RuntimeError``: the tool said something else."""
    arm = isa.startswith("neon")
    program = str(built("bebr_bench", arm=arm))
    task = [program, isa, case.kernel, *map(str, (case.dims, case.planes, case.rows, case.queries, passes))]
    if arm:
        return _emulated(task)
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    said = subprocess.run([*command, *task], check=True, capture_output=True, text=True).stderr
    if (found := re.search(r"Collected : (\d+)", said)) is None:
        raise RuntimeError(f"callgrind printed no count:\n{said}")
    return int(found[1])


def _emulated(task: Sequence[str]) -> int:
    """By the emulator's log: how long each run of instructions without a branch is, told as it is translated, and each
    time that one is executed. A line an instruction would be some gigabytes, nearly all of the program's start."""
    command = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu", "-cpu", "max,pauth-impdef=on"]
    command += ["-d", "in_asm,exec,nochain"]
    times: Counter[bytes] = Counter()
    lengths: dict[bytes, int] = {}
    length = 0
    with subprocess.Popen([*command, *task], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as program:
        assert program.stderr is not None
        for line in program.stderr:
            if line.startswith(b"Trace"):
                place = line.split(None, 3)[2]  # of the translation: "Trace 0: 0x7f… [...] name"
                times[place] += 1
                if times[place] == 1:
                    lengths[place] = length
            elif line.startswith(b"0x"):
                length += 1
            elif line.startswith(b"IN:"):
                length = 0
    if program.returncode or not times:
        raise RuntimeError(f"{' '.join(task)} under qemu: exit status {program.returncode}, {len(times)} translations")
    return sum(count * lengths[place] for place, count in times.items())


def measure(case: Case) -> Iterator[Row]:
    """A row for each instruction set that has the kernel."""
    avx2 = None
    for isa in ISAS:
        if isa == "neon" and case.kernel in NOT_OF_NEON:
            continue
        count = (executed(isa, case, 2) - executed(isa, case, 1)) / case.pairs
        avx2 = avx2 or count
        yield Row(case.kernel, case.dims, case.planes, case.queries, isa, count, count / avx2)


def table(rows: Sequence[Row]) -> Table:
    """A line a kernel and size, a column an instruction set."""
    shown = Table(title="Instructions a row and query (ratio to AVX2's)")
    for name in ("kernel", "bits", "queries", *ISAS):
        shown.add_column(name, justify="left" if name == "kernel" else "right")
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault((row.kernel, f"{row.dims} × {row.planes}", str(row.queries)), {})
        line[row.isa] = f"{row.instructions:,.1f} ({row.ratio:.2f})"
    for about, cells in lines.items():
        shown.add_row(*about, *(cells.get(isa, "") for isa in ISAS))
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.instructions``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", help="kernels, with commas between")
    parser.add_argument("--planes", type=int, help="in place of four, of expand and complete")
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    if missing := [name for name in NEEDS if shutil.which(name) is None]:
        parser.error(
            f"{' and '.join(missing)} not found: apt-get install valgrind g++-aarch64-linux-gnu qemu-user-static"
        )
    only = options.only.split(",") if options.only else None
    cases = [case for case in CASES if only is None or case.kernel in only]
    if options.planes:
        cases = [replace(case, planes=options.planes) for case in cases if case.kernel in ANY_PLANES]
    rows = [row for case in cases for row in measure(case)]
    output.console().print(table(rows))
    if options.json:
        output.save(options.json, machine.facts(1), [asdict(row) for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
