"""Whether bebr is as fast as it was, and answers the same: another checkout's build against this one, case by case.

    python -m benchmarks.before_after --before OTHER/.venv/bin/python glove fashion

Both sides hold the same rows under the same models, one thread each. A case is timed on one side, then on the other,
round by round, a tenth of a second each time, on one processor. Two ratios before / after are told, above 1 if it is
faster now: of the fastest calls of all rounds, and the median over rounds. On a shared machine one program twice
differed by up to a third in either: a processor is fast for moments only, and where memory lies counts. What makes a
program slower shows in both, so a case is under the aim if both are, and is then timed again, both sides in new
processes, in three times as many rounds. Indexes are files that the side before made, of which both map the same pages.
Aim: .97, and every answer equal to the bit. Cases: kernels, encoding, flat, IVF and graph search, filtered search.
Cases that one side lacks are left out: kernels want ``python -m benchmarks.kernels`` to have been run in each checkout.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

import bebr
from benchmarks import datasets, machine, output

AIM = 0.97
# How many times the rounds are taken again of a case that lies under it.
AGAIN = 3
WORKER = "before_after_worker.py"
# Bits a dimension of the models, and the bytes of a factor beside them.
BITS, FACTOR = (1, 2, 4), 4


class Side:
    """A worker, named by its file here, in the interpreter of one checkout; ``isa``: BEBR_ISA, where not this one's."""

    def __init__(self, python: Path, worker: str, *arguments: Path | str, isa: str | None = None) -> None:
        # Isolated: neither this checkout's folder nor PYTHONPATH decides which bebr is imported.
        self._process = subprocess.Popen(
            [python, "-I", Path(__file__).with_name(worker), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ if isa is None else {**os.environ, "BEBR_ISA": isa},
        )
        self.digests: dict[str, str] = json.loads(self._line())

    def seconds(self, case: str) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._line()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} stopped; what it wrote to standard error says why")
        return line


def in_turns(sides: Sequence[Side], cases: Sequence[str], rounds: int) -> dict[str, list[list[float]]]:
    """Seconds of every case: one list a round, an entry a side. Every other round the sides are asked backwards."""
    taken: dict[str, list[list[float]]] = {case: [] for case in cases}
    for turn in range(rounds):
        for case, seconds in taken.items():
            order = range(len(sides)) if turn % 2 == 0 else range(len(sides) - 1, -1, -1)
            now = {side: sides[side].seconds(case) for side in order}
            seconds.append([now[side] for side in range(len(sides))])
    return taken


@dataclass(frozen=True)
class Row:
    """Seconds of the fastest calls; ``typical``: the median over rounds of before / after; ``aim``: of both ratios."""

    dataset: str
    case: str
    before: float
    after: float
    typical: float
    equal: bool
    aim: float = AIM

    @property
    def ratio(self) -> float:
        return self.before / self.after

    @property
    def fast(self) -> bool:
        return max(self.ratio, self.typical) >= self.aim

    @property
    def kept(self) -> bool:
        return self.fast and self.equal


def row(data: str, case: str, pairs: Sequence[tuple[float, float]], equal: bool = True, aim: float = AIM) -> Row:
    """Of the seconds of all rounds, before and after."""
    was, now = (min(side) for side in zip(*pairs, strict=True))
    return Row(data, case, was, now, statistics.median(one / other for one, other in pairs), equal, aim)


def compare(
    data: datasets.Dataset,
    sides: Sequence[Callable[[Path, str], Side]],
    rounds: int,
    pattern: str,
    bits: Sequence[int] = BITS,
    aim: float = AIM,
) -> list[Row]:
    """Every case whose name holds ``pattern`` on one data set. sides: what starts the one before and the one after, of
    a folder of models and vectors, and a pattern. bits: a dimension, of each model."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        np.save(folder / "base.npy", data.base)
        np.save(folder / "queries.npy", data.queries)
        for size in (math.ceil(data.base.shape[1] / 8) * depth + FACTOR for depth in bits):
            bebr.train(data.train, bytes_per_vector=size, metric=data.metric).save(folder / f"{size}.safetensors")
        seconds: dict[str, list[tuple[float, float]]] = {}
        digests: list[dict[str, str]] = []

        def take(pattern: str, names: Sequence[str], rounds: int) -> None:
            # One after the other: the first one's files are read.
            started = [start(folder, pattern) for start in sides]
            digests[:] = digests or [side.digests for side in started]
            for turn in range(rounds):
                for name in names or [name for name in digests[1] if name in digests[0]]:
                    first = turn % 2
                    pair = {first: started[first].seconds(name)}
                    pair[1 - first] = started[1 - first].seconds(name)
                    seconds.setdefault(name, []).append((pair[0], pair[1]))
            for side in started:
                side.close()

        take(pattern, (), rounds)
        for name in [name for name, pairs in seconds.items() if not row("", name, pairs, aim=aim).fast]:
            take(name, (name,), AGAIN * rounds)
    return [row(data.name, name, pairs, digests[0][name] == digests[1][name], aim) for name, pairs in seconds.items()]


def table(rows: Sequence[Row], title: str, before: str = "before", after: str = "after") -> Table:
    made = Table(title=title)
    for column in ("set", "case", f"{before} ms", f"{after} ms", "ratio", "median", "answers"):
        made.add_column(column, justify="left" if column in ("set", "case", "answers") else "right")
    for row in rows:
        made.add_row(
            row.dataset,
            row.case,
            f"{1e3 * row.before:.3f}",
            f"{1e3 * row.after:.3f}",
            f"{row.ratio:.3f}{'' if row.fast else ' ✗'}",
            f"{row.typical:.3f}",
            "equal" if row.equal else "differ ✗",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.before_after", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("sets", nargs="*", default=["glove"], choices=datasets.names(), metavar="SET")
    parser.add_argument("--before", type=Path, required=True, help="the other checkout's interpreter")
    parser.add_argument("--after", type=Path, default=Path(sys.executable), help="this one's, unless said")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", default="", help="only cases whose name holds this text")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    console = output.console()
    rows: list[Row] = []
    for name in options.sets:
        data = datasets.load_or_say(name, console.print)
        if data is None:
            return 1
        sides = [partial(Side, python, WORKER) for python in (options.before, options.after)]
        rows += compare(data, sides, options.rounds, options.cases)
    console.print(table(rows, "before / after; above 1: faster now"))
    if options.json is not None:
        output.save(options.json, machine.facts(1), [{**asdict(row), "ratio": row.ratio} for row in rows])
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
