"""Ragged planes or planes of equal width, at equal bytes: what each recalls, and which of them training takes.

python -m benchmarks.plane_widths french glove docstrings docstrings-bge --sizes 24,52,100
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table

import bebr
from bebr.arrays import normalized
from bebr.exact import recall
from bebr.training.linear.closed_form import allocate, spectrum
from bebr.training.linear.planes import best_uniform, choose_planes
from bebr.training.linear.widths import FACTOR_BYTES
from benchmarks import datasets, machine, output

K = 10
_MODES: tuple[Literal["float", "code"], ...] = ("float", "code")


@dataclass(frozen=True)
class Row:
    """Recall@10 of all rows completed, by float queries (adc) and coded ones (sdc); ``chosen``: by training."""

    dataset: str
    size: int
    kind: str
    widths: tuple[int, ...]
    adc: float
    sdc: float
    chosen: bool


def measured(data: datasets.Dataset, size: int) -> list[Row]:
    """Both kinds of planes at one size, a two-byte factor beside them."""
    train = normalized(data.train) if data.metric == "cosine" else data.train
    bits, truth = 8 * (size - FACTOR_BYTES), data.truth(K)
    values = spectrum(train)[1]
    chosen = choose_planes(train, bits, data.metric, seed=0)
    rows = []
    for kind, widths in (("ragged", allocate(values, bits)), ("uniform", best_uniform(values, bits))):
        if widths is None:
            continue
        index = bebr.FlatIndex(bebr.train(data.train, widths=widths, metric=data.metric, factor_bytes=FACTOR_BYTES))
        index.add(data.base)
        adc, sdc = (
            recall(index.search(data.queries, K, query=mode, oversampling=-(-len(data.base) // K)).ids, truth)
            for mode in _MODES
        )
        rows.append(Row(data.name, size, kind, widths, adc, sdc, widths == chosen))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.plane_widths``; exit 1 where training takes planes that recall .005 less."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plane_widths", description=__doc__.partition("\n")[0])
    parser.add_argument("datasets", nargs="*", default=["french", "glove"], help="sets of benchmarks.datasets")
    parser.add_argument("--sizes", default="24,52,100", help="bytes a vector, factor included")
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here")
    options = parser.parse_args(arguments)
    console = output.console()
    table = Table("data", "bytes", "planes", "widths", "ADC", "SDC", "chosen")
    rows: list[Row] = []
    for name in options.datasets:
        data = datasets.load_or_say(name, console.print)
        if data is None:
            return 1
        for size in map(int, options.sizes.split(",")):
            if 8 * (size - FACTOR_BYTES) <= 64 * -(-data.base.shape[1] // 8):
                rows += measured(data, size)
    for row in rows:
        mark = "yes" if row.chosen else ""
        widths = ",".join(map(str, row.widths))
        table.add_row(row.dataset, str(row.size), row.kind, widths, f"{row.adc:.4f}", f"{row.sdc:.4f}", mark)
    console.print(table)
    if options.json:
        output.save(options.json, machine.facts(bebr.get_num_threads()), [asdict(row) for row in rows])
    wrong = [
        (a, b)
        for a in rows
        for b in rows
        if (a.dataset, a.size) == (b.dataset, b.size) and a.chosen and b.adc + b.sdc > a.adc + a.sdc + 0.01
    ]
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
