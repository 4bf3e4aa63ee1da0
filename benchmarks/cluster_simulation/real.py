"""What real leaves and a real root need, on this machine."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import bebr
from benchmarks import servers
from benchmarks.cluster_simulation.model import Measured
from benchmarks.datasets import Floats

__all__ = ["NAME", "ask", "cluster", "measure", "rows_of"]

NAME = "docs"
_WARM = 50


def rows_of(n: int, dims: int) -> Floats:
    """Around as many centres as an index has lists, so that searches are no scans of noise."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(int(n**0.5), 8), dims), dtype=np.float32)
    return centres[rng.integers(len(centres), size=n)] + 0.5 * rng.standard_normal((n, dims), dtype=np.float32)


@dataclass(frozen=True)
class Running:
    """`leaves`, `root`: addresses and processes; `row_bytes`: of files, a row; `start`: seconds of the first leaf."""

    leaves: Sequence[tuple[str, int]]
    root: tuple[str, int]
    row_bytes: float
    start: float


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
        with bebr.connect(root[0], timeout=600) as db:
            docs = db.create_collection(NAME, dim=dims)
            x = rows_of(rows, dims)
            for first in range(0, rows, 20_000):
                docs.upsert(range(first, min(first + 20_000, rows)), x[first : first + 20_000])
            docs.flush()
            while docs.stats().merging:
                time.sleep(0.1)
            size = docs.stats().bytes_on_disk / rows
        yield Running(started, root, size, start)


def ask(address: str, name: str, queries: Floats, clients: int) -> tuple[list[float], float]:
    """The seconds of each query, by so many threads at once, and the processor time of this process for each."""
    seconds: list[float] = []

    def one(some: Floats) -> None:
        with bebr.connect(address) as db:
            docs = db.collection(name)
            for query in some[:_WARM]:
                docs.search(query[None], 10)
            for query in some:
                begun = time.perf_counter()
                docs.search(query[None], 10)
                seconds.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=one, args=(some,)) for some in np.array_split(queries, clients)]
    begun = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, (time.process_time() - begun) / (len(queries) + _WARM * clients)


def _processor(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(sizes: Sequence[int], dims: int, queries: int) -> Measured:
    """By one leaf at each size, asked directly and by way of a root, and a root over four leaves."""
    service, walls = list[float](), list[float]()
    asked = rows_of(queries, dims)
    total = queries + _WARM
    for rows in sizes:
        with cluster(1, rows, dims) as there:
            (address, leaf), (root, root_process) = there.leaves[0], there.root
            before = _processor(leaf)
            walls, client = ask(address, NAME, asked, 1)
            service.append((_processor(leaf) - before) / total)
            before = _processor(root_process)
            ask(root, NAME, asked, 1)
            one = (_processor(root_process) - before) / total
    with cluster(4, sizes[0], dims) as four_leaves:
        before = _processor(four_leaves.root[1])
        ask(four_leaves.root[0], NAME, asked, 1)
        four = (_processor(four_leaves.root[1]) - before) / total
    median = float(np.median(walls))
    wire = max(median - service[-1] - client, 0.0)
    noise = np.maximum(np.asarray(walls) - wire - client, 0.0)
    each = max(four - one, 0.0) / 3
    return Measured(
        *(list(sizes), service, (noise / max(float(np.median(noise)), 1e-9)).tolist(), wire),
        *(max(one - each, 0.0), each, client, there.row_bytes, there.start),
    )
