"""How a cluster would do that is larger than what there is: a model, calibrated by real leaves, and compared.

    python -m benchmarks.cluster_simulation measure measured.json [--rows 20000 80000 320000] [--rounds 5]
    python -m benchmarks.cluster_simulation check measured.json [--leaves 1 2 4] [--rounds 5] [--json FILE]
    python -m benchmarks.cluster_simulation predict measured.json

`measure` calibrates: processor time of a leaf at several sizes, of a root by the number of its leaves, of a client, of
looks, and how long a processor takes to begin. `check` compares the model with that many real leaves behind a root, all
on this machine, by one client and by two: medians of rounds, in turns. Nothing that it measures goes into the model.
Exit 1 where p50 or p99 are off by more than a fifth. `predict` is of 4 to 256 leaves and 10^8 to 10^11 rows. What it
assumes, and where that breaks, is in docs/experiments/cluster-simulation.md. Clients are benchmarks/call_load.cpp.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks import machine, output
from benchmarks.call_load import Answered
from benchmarks.cluster_simulation import real
from benchmarks.cluster_simulation.model import Idle, Layout, Measured, simulate

CLIENTS = (1, 2)
SIMULATED = 8000  # queries
WITHIN = 0.2  # of the real figure

# What a machine of a cluster is taken to be: cores and GiB for leaves, dollars an hour of each, bytes a second.
_CORES, _GIB, _CORE_HOUR, _GIB_HOUR, _BANDWIDTH = 16, 256, 0.04, 0.005, 1.25e9
_NETWORK = 0.1e-3  # seconds of one way, within one zone
_LOAD = 0.35  # of cores: with two replicas, one alone has .7
_SEEN = 2.0  # seconds until the keeper sees that a node is lost, and has begun another leaf


@dataclasses.dataclass(frozen=True)
class Cell:
    """A quantile of the seconds of queries, by so many leaves and clients."""

    leaves: int
    clients: int
    quantile: float
    real: float
    model: float

    @property
    def ratio(self) -> float:
        return self.model / self.real

    @property
    def agrees(self) -> bool:
        return abs(self.ratio - 1.0) <= WITHIN


def check(measured: Measured, leaves: Sequence[int], dims: int, seconds: float, rounds: int) -> list[Cell]:
    """Compares the model with so many real leaves; all of them run from the beginning, and are asked in turns."""
    found = dict[tuple[int, int], list[Answered]]()
    alone = list[float]()
    with ExitStack() as stack:
        each = {number: stack.enter_context(real.cluster(number, measured.rows[0] * number, dims)) for number in leaves}
        for turn in range(rounds):
            for number, there in each.items():
                for clients in CLIENTS:
                    found.setdefault((number, clients), []).append(there.through_root(seconds, clients))
            number, there = list(each.items())[turn % len(each)]
            alone.append(1 / there.directly(seconds).calls_per_second)
    before = measured.alone * 1e6
    print(f"a leaf alone, mean: {median(alone) * 1e6:.0f} µs, {before:.0f} when it was measured", flush=True)
    cells = []
    for (number, clients), asked in found.items():
        layout = Layout(number, cores=len(os.sched_getaffinity(0)), together=True)
        modelled = simulate(measured, layout, measured.rows[0] * number, SIMULATED, clients=clients)
        for quantile in (0.5, 0.99):
            one = median([one.quantiles_us[round(1000 * quantile)] / 1e6 for one in asked])
            cells.append(Cell(number, clients, quantile, one, float(np.quantile(modelled, quantile))))
    return cells


def table(cells: Sequence[Cell]) -> Table:
    made = Table("leaves", "clients", "quantile", "real ms", "model ms", "model / real", "")
    for one in cells:
        figures = f"{one.real * 1e3:.3f}", f"{one.model * 1e3:.3f}", f"{one.ratio:.2f}"
        met = "met" if one.agrees else "[bold]missed[/bold]"
        made.add_row(str(one.leaves), str(one.clients), f"{one.quantile:g}", *figures, met)
    return made


def predict(measured: Measured, queries: int) -> None:
    """Prints a row for each size that fits."""
    table = Table(
        *("rows", "leaves", "roots", "GiB a leaf", "ms a leaf", "queries/s", "p50 ms", "p99 ms"),
        *("p99, one lost", "$ a million", "recovery s"),
    )
    for rows in (1e8, 1e9, 1e10, 1e11):
        for leaves in (4, 16, 64, 256):
            size = rows / leaves * measured.row_bytes
            if size > _GIB * 2**30 or rows / leaves < measured.rows[0]:
                continue
            capacity = _LOAD * 2 * _CORES / measured.service_of(rows / leaves)
            roots = roots_for(measured, leaves, capacity)
            layout = Layout(leaves, replicas=2, cores=_CORES, roots=roots, network=_NETWORK)
            some = max(queries * 4 // leaves, 300)
            seconds = simulate(measured, layout, rows, some, load=_LOAD)
            one_lost = simulate(measured, dataclasses.replace(layout, lost=1), rows, some, load=_LOAD)
            machines = 2 * leaves * (_CORES * _CORE_HOUR + size * 1.25 / 2**30 * _GIB_HOUR)
            dollars = machines + roots * max(measured.root_threads, 2) * _CORE_HOUR
            table.add_row(
                *(f"{rows:.0e}", str(leaves), str(roots), f"{size / 2**30:.1f}"),
                *(f"{measured.service_of(rows / leaves) * 1e3:.2f}", f"{capacity:,.0f}"),
                *(
                    f"{np.quantile(some_, q) * 1e3:.2f}"
                    for some_, q in ((seconds, 0.5), (seconds, 0.99), (one_lost, 0.99))
                ),
                *(f"{dollars / capacity / 3600 * 1e6:.2f}", f"{_SEEN + measured.start + size / _BANDWIDTH:.0f}"),
            )
    output.console().print(table)


def roots_for(measured: Measured, leaves: int, rate: float) -> int:
    """So many that they compute for `_LOAD` of the time, looks at two replicas of each leaf among it."""
    free = _LOAD * measured.root_threads - measured.root_idle_of(2 * leaves).share
    if free <= 0:
        raise ValueError(f"a root that looks at {2 * leaves} leaves has no time left for queries")
    return max(math.ceil(rate * measured.root_of(leaves) / free), 2)


def read(told: dict[str, Any]) -> Measured:
    """As `measure` has saved it."""
    idle = {"leaf_idle": Idle(**told["leaf_idle"]), "root_idle": [Idle(**one) for one in told["root_idle"]]}
    return Measured(**{**told, **idle})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "check", "predict"])
    parser.add_argument("measured", nargs="?", type=Path, default=Path("cluster.json"))
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 80_000, 320_000])
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--leaves", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=2000, help="of each prediction")
    parser.add_argument("--json", type=Path, help="of check")
    options = parser.parse_args()
    if options.what == "measure":
        measured = real.measure(sorted(options.rows), options.dims, options.seconds, options.rounds)
        about = {"dims": options.dims, "measured": dataclasses.asdict(measured)}
        output.save(options.measured, machine.facts(1), [], **about)
        print({key: value for key, value in dataclasses.asdict(measured).items() if key != "noise"})
        return 0
    about = json.loads(options.measured.read_text())
    measured = read(about["measured"])
    if options.what == "check":
        load = os.getloadavg()
        cells = check(measured, options.leaves, about["dims"], options.seconds, options.rounds)
        output.console().print(table(cells))
        if options.json:
            output.save(options.json, machine.facts(1), [dataclasses.asdict(one) for one in cells], load=load)
        return int(not all(one.agrees for one in cells))
    predict(measured, options.queries)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
