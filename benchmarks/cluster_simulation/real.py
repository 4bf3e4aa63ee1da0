"""What real leaves and a real root need, on this machine."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import bebr
from benchmarks import servers
from benchmarks.call_load import Answered, loaded
from benchmarks.cluster_root import NAME, fill
from benchmarks.cluster_simulation.model import Idle, Layout, Measured, simulate

__all__ = ["Running", "cluster", "measure"]

_SIMULATED = 4000  # queries
_IDLE = 5.0  # seconds for which processes are watched while nobody asks
_SEVERAL = (2, 4)  # leaves behind a root, beside one


@dataclass(frozen=True)
class Running:
    """`leaves`, `root`: addresses and processes; `row_bytes`: of files, a row; `start`: seconds of the first leaf."""

    leaves: Sequence[tuple[str, int]]
    root: tuple[str, int]
    dims: int
    row_bytes: float
    start: float

    def through_root(self, seconds: float, clients: int = 1) -> Answered:
        """What so many clients of the root see; CPU time is that of the leaves, and then of the root."""
        address, root = self.root
        pids = [*(pid for _, pid in self.leaves), root]
        return loaded([address], [NAME], pids, self.dims, clients, clients, seconds)

    def directly(self, seconds: float, first: int = 0, count: int = 1) -> Answered:
        """What a client of each of these leaves sees, which asks for its shard."""
        of = len(self.leaves)
        some = range(first, first + count)
        names = [NAME if of == 1 else f"{NAME}.{number}of{of}" for number in some]
        addresses, pids = zip(*(self.leaves[number] for number in some), strict=True)
        return loaded(addresses, names, pids, self.dims, count, count, seconds)


@contextmanager
def cluster(leaves: int, rows: int, dims: int) -> Iterator[Running]:
    """A root over so many leaves, each with a folder of its own and one thread, that have these rows."""
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(leaves)]
        arguments = ("--port", "0", "--threads", "1")
        begun = time.perf_counter()
        started = []
        for folder in folders:
            started.append(stack.enter_context(servers.started("-m", "bebr", "serve", str(folder), *arguments)))
            if len(started) == 1:
                start = time.perf_counter() - begun
        names = ",".join(address for address, _ in started)
        root = stack.enter_context(
            servers.started("-m", "bebr", "root", "--leaves", names, "--shards", str(leaves), "--port", "0")
        )
        fill(root[0], NAME, rows, dims)
        with bebr.connect(root[0]) as db:
            size = db.collection(NAME).stats().bytes_on_disk / rows
        yield Running(started, root, dims, size, start)


def _threads(pid: int) -> dict[str, tuple[int, int]]:
    """Of each of its threads: nanoseconds that it has computed, and in how many turns."""
    fields = {path.parent.name: path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")}
    return {thread: (int(each[0]), int(each[2])) for thread, each in fields.items()}


def _computed(pid: int) -> dict[str, int]:
    """Nanoseconds of each of its threads."""
    return {thread: computed for thread, (computed, _) in _threads(pid).items()}


def at_once(before: dict[str, int], after: dict[str, int]) -> int:
    """How many threads computed at once at most, as far as the busiest one tells: those of Python take turns."""
    each = [nanoseconds - before.get(thread, 0) for thread, nanoseconds in after.items()]
    return max(round(sum(each) / max(max(each), 1)), 1)


def _median(asked: Sequence[Answered], of: Callable[[Answered], float]) -> float:
    return statistics.median(map(of, asked))


def _mean(asked: Sequence[Answered]) -> float:
    """Seconds of a query in the mean, of one client."""
    return _median(asked, lambda one: 1 / one.calls_per_second)


def _computing(asked: Sequence[Answered], process: int) -> float:
    """Seconds of processor time for a query, of one of the processes."""
    return _median(asked, lambda one: one.each_us[process]) / 1e6


def _turns(pid: int) -> tuple[int, int]:
    """Nanoseconds that a process has computed, and in how many turns of its threads."""
    each = _threads(pid).values()
    return sum(computed for computed, _ in each), sum(turns for _, turns in each)


def _idle(there: Running) -> tuple[Idle, Idle]:
    """Of the root, and of a leaf in the mean, while nobody asks."""
    pids = [there.root[1], *(pid for _, pid in there.leaves)]
    before = [_turns(pid) for pid in pids]
    time.sleep(_IDLE)
    after = [_turns(pid) for pid in pids]
    passed = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(before, after, strict=True)]

    def of(some: Sequence[tuple[int, int]]) -> Idle:
        computed, turns = sum(ns for ns, _ in some) / 1e9, sum(count for _, count in some)
        return Idle(computed / len(some) / _IDLE, computed / max(turns, 1))

    return of(passed[:1]), of(passed[1:])


def _noise(asked: Sequence[Answered]) -> list[float]:
    """By how many seconds single queries took longer than all did in the mean."""
    quantiles = np.median([one.quantiles_us for one in asked], axis=0) / 1e6
    return [float(one) for one in quantiles - (quantiles[:-1] + quantiles[1:]).mean() / 2]


def measure(sizes: Sequence[int], dims: int, seconds: float, rounds: int) -> Measured:
    """By one leaf at each size, asked directly and by way of a root in turns, and by roots over several leaves."""
    service, noise, per = list[float](), list[list[float]](), list[float]()
    for rows in sizes:
        with cluster(1, rows, dims) as there:
            pairs = [(there.directly(seconds), there.through_root(seconds)) for _ in range(rounds)]
            direct, through = [one for one, _ in pairs], [one for _, one in pairs]
            service.append(_computing(through, 0))
            noise.append(_noise(through))
            clients = _median(direct, lambda one: one.client_us) / 1e6
            per.append(_computing(through, 0) + _computing(through, 1) + clients)
            if rows != sizes[0]:
                continue
            client, alone = clients, _mean(direct)
            wake = max(alone - _computing(direct, 0) - clients, 0.0) / 2
            roots = [_computing(through, 1)]
            passed_on = _median(through, lambda one: one.p50_us) / 1e6
            row_bytes, start = there.row_bytes, there.start
            idle, leaf_idle = _idle(there)
            idles, busy = [idle], _computed(there.root[1])
            there.through_root(seconds, len(os.sched_getaffinity(0)))
            threads = at_once(busy, _computed(there.root[1]))
    for leaves in _SEVERAL:
        with cluster(leaves, sizes[0] * leaves, dims) as there:
            several = [there.through_root(seconds) for _ in range(rounds)]
            roots.append(_computing(several, leaves))
            idles.append(_idle(there)[0])
            if leaves == _SEVERAL[-1]:
                count = min(len(os.sched_getaffinity(0)), leaves)
                ratios = [
                    there.directly(seconds, 0, count).server_us
                    / statistics.mean(there.directly(seconds, number).server_us for number in range(count))
                    for _ in range(rounds)
                ]
    measured = Measured(
        rows=list(sizes),
        service=service,
        alone=alone,
        noise=noise,
        noise_per=per,
        leaf_idle=leaf_idle,
        leaves=[1, *_SEVERAL],
        root=roots,
        root_idle=idles,
        root_wait=0.0,
        root_threads=threads,
        wake=wake,
        beside=max(statistics.median(ratios), 1.0),
        client=client,
        row_bytes=row_bytes,
        start=start,
    )
    layout = Layout(1, cores=len(os.sched_getaffinity(0)), together=True)
    known = simulate(measured, layout, sizes[0], _SIMULATED, clients=1)
    return replace(measured, root_wait=passed_on - float(np.median(known)))
