"""Approximate search: recall@k against queries a second, build time, memory and bytes, ours and every installed peer.

    python -m benchmarks.ann wordnet glove fashion --threads 1 --rounds 3 --json results/ann.json --plot results

Every engine lives in a process of its own and works only when asked. After all are built, each setting of each engine
is timed once a round, in an order drawn anew, so that a slow moment of the machine falls on all; figures are medians.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from bebr import peers
from benchmarks import ann_report, datasets, machine, ours, output
from benchmarks.ann_results import Conditions, Figure, Results, Row
from benchmarks.ann_worker import Built, Job, Refused, Worker, write

# Nobody asks for less, and a sweep has many points below.
FLOOR = 0.8


def measure(
    data: datasets.Dataset,
    engines: Sequence[peers.Peer],
    results: Results,
    conditions: Conditions,
    job: Job,
    rounds: int,
    console: Console,
) -> list[Row]:
    """Build all ``engines`` and time them in turns; each row goes to ``results`` after its build and each round."""
    write(data, job.folder, job.k)
    workers: list[Worker] = []
    rows: list[Row] = []
    try:
        with Progress(console=console) as bar:
            task = bar.add_task("build", total=len(engines))
            for engine in engines:
                bar.update(task, description=f"build {engine.name}")
                worker = Worker(engine, job)
                workers.append(worker)
                try:
                    row = _row(engine, worker.built(), conditions, results.run)
                except Refused as error:
                    workers.pop().close()
                    console.print(f"{engine.name}: skipped: {error}", markup=False)
                else:
                    rows.append(row)
                    results.put(row)
                    if row.cpus > job.threads + 0.2:
                        console.print(f"{engine.name}: takes {row.cpus:.1f} CPUs where {job.threads} are allowed")
                bar.advance(task)
            turns = [(w, row, figure) for w, row in zip(workers, rows, strict=True) for figure in kept(row.figures)]
            task = bar.add_task("time", total=rounds * len(turns))
            order = random.Random(0)
            for _ in range(rounds):
                order.shuffle(turns)
                taken: list[tuple[Figure, float]] = []
                for worker, row, figure in turns:
                    bar.update(task, description=f"time {row.engine}", advance=1)
                    if row not in rows:
                        continue
                    try:
                        taken.append((figure, worker.time(figure.setting)))
                    except Refused as error:
                        console.print(f"{row.engine}: left out from here on: {error}", markup=False)
                        rows.remove(row)
                # Whole rounds only: an interrupted one would leave engines with unequal numbers of timings.
                for figure, seconds in taken:
                    figure.rounds.append(seconds)
                results.save()
    finally:
        for worker in workers:
            worker.close()
    for row in rows:
        row.figures = kept(row.figures)
    results.save()
    return rows


def _row(engine: peers.Peer, built: Built, conditions: Conditions, run: str) -> Row:
    return Row(
        conditions=conditions,
        engine=engine.name,
        library=engine.library,
        version=engine.version,
        run=run,
        build_seconds=built.build_seconds,
        peak_bytes=built.peak_bytes,
        bytes_per_vector=built.bytes_per_vector,
        cpus=built.cpus,
        figures=[Figure(dict(p.setting), p.recall, p.alone) for sweep in built.sweeps for p in sweep],
    )


def kept(figures: Sequence[Figure]) -> list[Figure]:
    """Those worth timing: of recall ``FLOOR`` or more, and the best one below it, from where a curve comes up."""
    below = [figure for figure in figures if figure.recall < FLOOR]
    return [figure for figure in figures if figure.recall >= FLOOR] + (
        [max(below, key=lambda figure: (figure.recall, figure.qps))] if below else []
    )


def nlist_for(rows: int) -> tuple[int, ...]:
    """Numbers of inverted lists where none are given: the powers of two nearest to the root of ``rows`` and to 4 of it.

    The second is where faiss' guide begins; on sets of this size the first is often faster.
    """
    return tuple(2 ** round((rows.bit_length() - 1) / 2 + more) for more in (0, 2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ann", description=__doc__.partition("\n")[0])
    numbers = _numbers
    parser.add_argument("datasets", nargs="*", default=["wordnet"], metavar="SET", help=", ".join(datasets.names()))
    parser.add_argument(
        "--engines", default="", metavar="REGEX", help="on names, any case; --list shows them; all if absent"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the engines and stop")
    parser.add_argument("--sizes", type=numbers, default=(52, 100, 196), help="bytes of our codes, e.g. 52,100,196")
    parser.add_argument("--nlist", type=numbers, help="inverted lists, e.g. 256,1024; by the number of rows if absent")
    parser.add_argument("--max-degree", type=int, default=32, help="links of a node; M of every HNSW is half of it")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1, help="for building and searching")
    parser.add_argument("--rounds", type=int, default=3, help="timings of each setting, in turns")
    parser.add_argument("--seconds", type=float, default=0.1, help="least time of one timing")
    parser.add_argument("--single", action="store_true", help="one call a query instead of all in one call")
    parser.add_argument("--resume", action="store_true", help="keep what --json holds of the same versions and machine")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="keep our trained models here and use those kept")
    parser.add_argument("--json", type=Path, metavar="PATH", help="rows of earlier runs in it stay")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="one picture a data set")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _engines(data: datasets.Dataset, options: argparse.Namespace, folder: Path) -> list[peers.Peer]:
    """Ours, then every installed library's. folder: where ours keep their models."""
    rows, dim = data.base.shape
    case = peers.Case(dim, data.metric, options.nlist or nlist_for(rows), options.max_degree)
    return [*ours.indexes(case, options.sizes, folder), *peers.approximate(case)]


def _one(
    data: datasets.Dataset, options: argparse.Namespace, results: Results, facts: Any, console: Console
) -> list[Row]:
    """The rows of one data set: measured now, and with ``--resume`` those found."""
    conditions = Conditions.of(data, facts, options.k, options.single)
    with tempfile.TemporaryDirectory(prefix="bebr-ann-") as name:
        folder = Path(name)
        models = options.models / f"{data.name}-{data.checksum[:16]}" if options.models else folder
        models.mkdir(parents=True, exist_ok=True)
        for line in ours.kept_models(models):
            console.print(line, markup=False)
        found: list[Row] = []
        wanted: list[peers.Peer] = []
        for engine in _engines(data, options, models):
            if not re.search(options.engines, engine.name, re.IGNORECASE):
                continue
            row = results.found(conditions, engine) if options.resume else None
            if row is None:
                wanted.append(engine)
            else:
                found.append(row)
        if found:
            console.print(f"{data.name}: {len(found)} engines are in {options.json} already, {len(wanted)} are not")
        job = Job(folder, options.k, options.threads, options.single, options.seconds)
        return found + measure(data, wanted, results, conditions, job, options.rounds, console)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.ann``."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.datasets if name not in datasets.names()]
    if unknown:
        parser.error(f"SET: got {', '.join(unknown)}, wanted of {', '.join(datasets.names())}")
    if options.resume and not options.json:
        parser.error("--resume: wants --json, the file to go on from")
    console = output.console()
    for line in peers.missing("approximate"):
        console.print(line, markup=False)
    facts = machine.facts(options.threads)
    results = Results(options.json, facts)
    failed = False
    judged: dict[str, Any] = {}
    for name in options.datasets:
        data = datasets.load_or_say(name, console.print)
        if data is None:
            failed = True
            continue
        if options.list:
            for engine in _engines(data, options, Path()):
                console.print(engine.name, markup=False)
            continue
        try:
            rows = _one(data, options, results, facts, console)
        except KeyboardInterrupt:
            console.print("stopped" + (f"; --resume goes on from {options.json}" if options.json else ""))
            return 130
        if not rows:
            console.print(f"{name}: no engine is called like {options.engines!r} and could be built")
            failed = True
            continue
        for table in ann_report.tables(rows):
            console.print(table)
        judged[name] = [asdict(verdict) for verdict in ann_report.verdicts(rows)]
        results.save(verdicts=judged)
        if options.plot:
            # By name: only the picture needs matplotlib.
            from benchmarks import ann_plot

            options.plot.mkdir(parents=True, exist_ok=True)
            ann_plot.draw(options.plot / f"ann-{name}-{'single' if options.single else 'batch'}.png", rows, FLOOR)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
