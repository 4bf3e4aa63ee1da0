"""Whether more threads answer one large batch faster, for every kind of index, and whether they rest afterwards.

    python -m benchmarks.threads glove

A call asks all queries of the set; it is timed with one thread and with all of this process (``--threads``), in turns,
and of each the fastest of the rounds counts. Told of every case:

* **times**: how much faster all threads are. Aim: 1.8 with two.
* **apart**: the same of callers that share nothing: as many at once, each with one thread and its part of the queries.
  It is what the machine itself gives; but smaller batches are more work a query.
* **work**: processor time of a call, all threads over one: what dividing it adds.
* **serial**: the share of that time in which the caller works alone, by how much more of it is the caller's.

Last: processor time of a second in which nothing is asked, and how many threads a process takes that may run on one
processor, and one whose control group grants it the time of one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from benchmarks import datasets, machine, output

AIM = 1.8
K, NLIST, ALLOWED = 10, 256, 0.1
_THREADS = "import bebr; print(bebr.get_num_threads())"

Call = Callable[[Any], Any]  # of queries


@dataclass(frozen=True)
class Taken:
    """Seconds of a call: by the clock, of the processor, and of it the caller's own."""

    clock: float
    work: float
    own: float


@dataclass(frozen=True)
class Row:
    """Of one case: seconds with one thread and with all, and what the module says of the others."""

    case: str
    one: float
    many: float
    apart: float
    work: float
    serial: float

    @property
    def times(self) -> float:
        return self.one / self.many


def cases(data: datasets.Dataset, size: int, pattern: str) -> Iterator[tuple[str, Call]]:
    """Searches of every kind of index over ``data``, by codes of ``size`` bytes, whose names hold ``pattern``."""
    model = bebr.train(data.train, bytes_per_vector=size, metric=data.metric, seed=0)
    some = np.sort(np.random.default_rng(0).permutation(len(data.base))[: round(ALLOWED * len(data.base))])
    usual: list[tuple[str, dict[str, Any]]] = [
        (f", {ALLOWED:.0%} allowed", {"allow": some}),
        (", rescored", {}),
    ]
    kinds: list[tuple[str, Callable[[], Any], list[tuple[str, dict[str, Any]]]]] = [
        ("flat", partial(bebr.FlatIndex, model, rescore="int8"), [("", {}), (" exact", {"exact": True}), *usual]),
        (
            f"IVF{NLIST}",
            partial(bebr.IVFIndex, model, NLIST, rescore="int8"),
            [*((f" {n}", {"nprobe": n}) for n in (4, 32)), *usual],
        ),
        (
            "graph",
            partial(bebr.GraphIndex, model, rescore="int8"),
            [*((f" {ef}", {"ef_search": ef}) for ef in (24, 64)), *usual],
        ),
        ("graph inline", partial(bebr.GraphIndex, model, inline=32), [(" 64", {"ef_search": 64})]),
    ]
    for kind, make, ways in kinds:
        wanted = [(kind + way, options) for way, options in ways if pattern in kind + way]
        if not wanted:
            continue
        index = make()
        index.add(data.base)
        for name, options in wanted:
            plain = {} if "rescored" in name else {"rescore": 0}
            yield name, partial(index.search, k=K, **plain, **options)


def take(call: Callable[[], Any]) -> Taken:
    clock, work, own = time.perf_counter(), time.process_time(), time.thread_time()
    call()
    return Taken(time.perf_counter() - clock, time.process_time() - work, time.thread_time() - own)


def measure(case: str, call: Call, queries: Any, threads: int, rounds: int, callers: ThreadPoolExecutor) -> Row:
    """In turns with one thread, with all, and as ``callers`` apart."""
    parts = np.array_split(queries, threads)
    ways: list[tuple[int, Callable[[], Any]]] = [
        (1, lambda: call(queries)),
        (threads, lambda: call(queries)),
        (1, lambda: list(callers.map(call, parts))),
    ]
    taken: list[list[Taken]] = [[] for _ in ways]
    for turn in range(rounds + 1):
        for way, (number, asked) in enumerate(ways):
            bebr.set_num_threads(number)
            took = take(asked)
            if turn > 0:  # the first call makes what later ones keep
                taken[way].append(took)
    bebr.set_num_threads(threads)
    one, many, apart = (min(some, key=lambda each: each.clock) for some in taken)
    work = [min(each.work for each in some) for some in taken]
    serial = (threads * many.own / many.work - 1) / (threads - 1)
    return Row(case, one.clock, many.clock, one.clock / apart.clock, work[1] / work[0], serial)


def idle(seconds: float = 1.0) -> float:
    """Processor time of this process while nothing is asked of it, a second."""
    start = time.process_time()
    time.sleep(seconds)
    return (time.process_time() - start) / seconds


def threads_on_one() -> int:
    """Threads of a process that may run on one processor."""
    one = min(os.sched_getaffinity(0))
    alone = f"import os; os.sched_setaffinity(0, {{{one}}}); {_THREADS}"
    return int(subprocess.run([sys.executable, "-c", alone], stdout=subprocess.PIPE, check=True).stdout)


def threads_of_quota() -> int:
    """Threads of a process in a new control group below this one's, with one processor's time. ``OSError``: none can be
    made here."""
    groups = dict(line.split(":")[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    controllers = next((name for name in groups if "cpu" in name.split(",")), "")
    root = Path("/sys/fs/cgroup") / controllers
    group = root / groups[controllers].lstrip("/") / f"bebr-threads-{os.getpid()}"
    group.mkdir()
    try:
        if controllers:
            (group / "cpu.cfs_quota_us").write_text((group / "cpu.cfs_period_us").read_text())
        else:
            (group / "cpu.max").write_text("100000 100000")
        inside = f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); {_THREADS}"
        return int(subprocess.run([sys.executable, "-c", inside], stdout=subprocess.PIPE, check=True).stdout)
    finally:
        group.rmdir()


def table(rows: Sequence[Row], threads: int) -> Table:
    made = Table(title=f"one call, {threads} threads beside one")
    for column in ("case", "ms, 1", f"ms, {threads}", "times", "apart", "work", "serial"):
        made.add_column(column, justify="left" if column == "case" else "right")
    for row in rows:
        few = "" if row.times >= AIM else " ✗"
        cells = [f"{1e3 * row.one:.2f}", f"{1e3 * row.many:.2f}", f"{row.times:.2f}{few}", f"{row.apart:.2f}"]
        made.add_row(row.case, *cells, f"{row.work:.2f}", f"{row.serial:.3f}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of ``python -m benchmarks.threads``; 1 where a case of two threads is under the aim."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.threads", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("dataset", nargs="?", default="glove", choices=datasets.names(), metavar="SET")
    parser.add_argument("--bits", type=int, default=4, help="a dimension, of the model")
    parser.add_argument("--rows", type=int, default=100_000, help="at most, the first of the set")
    parser.add_argument("--threads", type=int, default=bebr.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cases", default="", help="only cases whose name holds this text")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.threads < 2:
        parser.error(f"--threads is {options.threads}: want 2 or more")
    console = output.console()
    data = datasets.load_or_say(options.dataset, console.print)
    if data is None:
        return 1
    data = replace(data, base=data.base[: options.rows])
    size = -(-data.base.shape[1] // 8) * options.bits + 4
    with ThreadPoolExecutor(options.threads) as callers:
        rows = [
            measure(case, call, data.queries, options.threads, options.rounds, callers)
            for case, call in cases(data, size, options.cases)
        ]
    console.print(table(rows, options.threads))
    worst = min(rows, key=lambda row: row.times)
    console.print(f"least: {worst.case}, {worst.times:.2f} times")
    console.print(f"idle: {1e3 * idle():.2f} ms of processor time a second")
    console.print(f"threads on one processor: {threads_on_one()}")
    try:
        console.print(f"threads with the time of one: {threads_of_quota()}")
    except OSError as error:
        console.print(f"no control group can be made here: {error}")
    if options.json is not None:
        output.save(options.json, machine.facts(options.threads), [{**asdict(row), "times": row.times} for row in rows])
    return 0 if options.threads != 2 or worst.times >= AIM else 1


if __name__ == "__main__":
    raise SystemExit(main())
