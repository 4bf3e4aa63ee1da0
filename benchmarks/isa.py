"""How much of one instruction set's speed another one has: searches of the same saved indexes, case by case, in turns.

    python -m benchmarks.isa glove wordnet
    python -m benchmarks.isa --isa amx,avx512 --cases single glove

Both sides are this build under BEBR_ISA, with one thread on one processor each, as in ``benchmarks.before_after``:
flat, IVF and graph indexes of one model, all queries of the set in a call. Ratios are times of the first instruction
set over those of the second, of the fastest calls and the median over rounds: below 1, the second is slower. Aim: .5
of AVX-512's speed by AVX2, and every answer equal to the bit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import bebr
from benchmarks import before_after, datasets, machine, output

AIM = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.isa``; 1 where a case is under the aim or answers differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isa", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", default=["glove"], choices=datasets.names(), metavar="SET")
    parser.add_argument("--isa", default="avx512,avx2", help="two, with a comma between")
    parser.add_argument("--bits", type=int, default=4, help="a dimension, of the model")
    parser.add_argument("--rows", type=int, default=100_000, help="at most, the first of the set")
    parser.add_argument("--queries", type=int, default=datasets.QUERIES, help="in a call")
    parser.add_argument("--cases", default="batch", help="only cases whose name holds this text")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    isas = options.isa.split(",")
    known = bebr.info()["runnable_isas"]
    if len(isas) != 2 or not set(isas) <= set(known):
        parser.error(f"--isa is {options.isa!r}: want two of {', '.join(known)}")
    console = output.console()

    def side(isa: str, folder: Path, pattern: str) -> before_after.Side:
        return before_after.Side(
            Path(sys.executable), before_after.WORKER, folder, pattern, str(options.queries), isa=isa
        )

    rows: list[before_after.Row] = []
    for name in options.sets:
        data = datasets.load_or_say(name, console.print)
        if data is None:
            return 1
        sides = [partial(side, isa) for isa in isas]
        data = replace(data, base=data.base[: options.rows])
        rows += before_after.compare(data, sides, options.rounds, options.cases, (options.bits,), AIM)
    console.print(before_after.table(rows, f"{isas[1]}'s speed as a share of {isas[0]}'s", *isas))
    if options.json is not None:
        output.save(options.json, machine.facts(1), [{**asdict(row), "ratio": row.ratio} for row in rows])
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
