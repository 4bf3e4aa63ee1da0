"""How a cluster would do that is larger than what there is: a model, calibrated by a real leaf, and compared.

    python -m benchmarks.cluster_simulation measure measured.json [--rows 20000 80000 320000] [--queries 2000]
    python -m benchmarks.cluster_simulation check measured.json [--leaves 1 2 4] [--queries 2000]
    python -m benchmarks.cluster_simulation predict measured.json

`measure` calibrates: processor time of a leaf at several sizes, of a root for each leaf, and what a call takes besides.
`check` compares the model with that many real leaves behind a root, all on this machine; exit 1 where p50 or p99 are
off by more than a fifth. `predict` is of 4 to 256 leaves and 10^8 to 10^11 rows. What it assumes, and where that
breaks, is in docs/experiments/cluster-simulation.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks import machine, output
from benchmarks.cluster_simulation import real
from benchmarks.cluster_simulation.model import Layout, Measured, simulate

# What a machine of a cluster is taken to be: cores and GiB for leaves, dollars an hour of each, bytes a second.
_CORES, _GIB, _CORE_HOUR, _GIB_HOUR, _BANDWIDTH = 16, 256, 0.04, 0.005, 1.25e9
_NETWORK = 0.1e-3  # seconds of one way, within one zone
_LOAD = 0.35  # of cores: with two replicas, one alone has .7
_SEEN = 2.0  # seconds until the keeper sees that a node is lost, and has begun another leaf


def check(measured: Measured, leaves: Sequence[int], dims: int, queries: int) -> int:
    """Compares; the exit code."""
    table = Table("leaves", "clients", "real p50", "model", "ratio", "real p99", "model", "ratio")
    cores, worst = len(os.sched_getaffinity(0)), 1.0
    for number in leaves:
        with real.cluster(number, measured.rows[0] * number, dims) as there:
            for clients in (1, 2):
                seconds, _ = real.ask(there.root[0], real.NAME, real.rows_of(queries, dims), clients)
                layout = Layout(number, cores=cores, together=True)
                modelled = simulate(measured, layout, measured.rows[0] * number, queries, clients=clients)
                cells = [str(number), str(clients)]
                for quantile in (0.5, 0.99):
                    a, b = np.quantile(seconds, quantile), np.quantile(modelled, quantile)
                    worst = max(worst, b / a, a / b)
                    cells += [f"{a * 1e3:.2f}", f"{b * 1e3:.2f}", f"{b / a:.2f}"]
                table.add_row(*cells)
    output.console().print(table)
    return int(worst > 1.2)


def predict(measured: Measured, queries: int) -> None:
    """Prints a row for each size that fits."""
    table = Table(
        "rows",
        "leaves",
        "GiB a leaf",
        "ms a leaf",
        "queries/s",
        "p50 ms",
        "p99 ms",
        "p99, one lost",
        "$ a million",
        "recovery s",
    )
    for rows in (1e8, 1e9, 1e10, 1e11):
        for leaves in (4, 16, 64, 256):
            size = rows / leaves * measured.row_bytes
            if size > _GIB * 2**30 or rows / leaves < measured.rows[0]:
                continue
            layout = Layout(leaves, replicas=2, cores=_CORES, network=_NETWORK)
            some = max(queries * 4 // leaves, 300)
            seconds = simulate(measured, layout, rows, some, load=_LOAD)
            one_lost = simulate(measured, dataclasses.replace(layout, lost=1), rows, some, load=_LOAD)
            dollars = 2 * leaves * (_CORES * _CORE_HOUR + size * 1.25 / 2**30 * _GIB_HOUR)
            capacity = _LOAD * 2 * _CORES / measured.service_of(rows / leaves)
            table.add_row(
                *(f"{rows:.0e}", str(leaves), f"{size / 2**30:.1f}", f"{measured.service_of(rows / leaves) * 1e3:.2f}"),
                *(
                    f"{capacity:,.0f}",
                    f"{np.quantile(seconds, 0.5) * 1e3:.2f}",
                    f"{np.quantile(seconds, 0.99) * 1e3:.2f}",
                ),
                *(f"{np.quantile(one_lost, 0.99) * 1e3:.2f}", f"{dollars / capacity / 3600 * 1e6:.2f}"),
                f"{_SEEN + measured.start + size / _BANDWIDTH:.0f}",
            )
    output.console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "check", "predict"])
    parser.add_argument("measured", nargs="?", type=Path, default=Path("cluster.json"))
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 80_000, 320_000])
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--leaves", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--queries", type=int, default=2000)
    options = parser.parse_args()
    if options.what == "measure":
        measured = real.measure(sorted(options.rows), options.dims, options.queries)
        about = {"dims": options.dims, "measured": dataclasses.asdict(measured)}
        output.save(options.measured, machine.facts(1), [], **about)
        print({key: value for key, value in dataclasses.asdict(measured).items() if key != "noise"})
        return 0
    about = json.loads(options.measured.read_text())
    measured = Measured(**about["measured"])
    if options.what == "check":
        return check(measured, options.leaves, about["dims"], options.queries)
    predict(measured, options.queries)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
