"""A server under everything at once for a while: does it stay as it was?

    python -m benchmarks.soak [--minutes 2] [--rows 50000] [--window 10] [--json soak.json]

Writers replace and delete rows, readers ask (plain, filtered, with payloads), a thread flushes, so that files are
merged, and half-way the collection migrates to another model. By windows: memory that is the server's own, its
descriptors and threads, p99 of the readers. The first fifth is warm-up, a migration included: a server's first one
brings threads and buffers of numerical libraries that stay. Verdicts: memory of the last windows at most 1.1 of that of
the first after warm-up, as many descriptors and threads between merges, p99 at most 1.2 of it; both migrations came to
their end; no call failed. Exit 1 where one is missed. A run for the record takes --minutes 30 on a quiet machine; on a
busy one p99 says nothing, and --level leaves its verdict out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from benchmarks import machine, output, servers
from benchmarks.datasets import Floats
from benchmarks.filters import blocks, mixture

_NAME = "docs"
_WARM = 0.2  # of the run
_MIGRATIONS = (0.05, 0.5)  # of the run; the second leads back to the first model
_BATCH = 200


@dataclass
class Window:
    """``memory``: bytes of the server's own; ``p50``, ``p99``: ms of a reader's call; ``model``: the digest of
    the one that the collection has, since its migration to that ended."""

    at: float
    memory: int
    descriptors: int
    threads: int
    calls: int
    p50: float
    p99: float
    segments: int
    rows: int
    model: str


def memory(pid: int) -> int:
    """Bytes that are a process's own: mapped files are left out."""
    _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(resident) - int(shared)) * 4096


def descriptors(pid: int) -> int:
    """Open files, those of connections left out: clients come and go."""
    files = Path(f"/proc/{pid}/fd").iterdir()
    return sum(not str(_link(file)).startswith("socket:") for file in files)


def threads(pid: int) -> int:
    """Threads of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:
        return "socket:"  # closed meanwhile


class Load:
    """Threads that call a server until `stop`; ``times`` are (second, ms) of the readers' calls."""

    def __init__(self, target: str, x: Floats, queries: Floats, readers: int, rate: float) -> None:
        self._target, self._rows, self._rate = target, len(x), rate
        self._vectors, self._queries = x, queries
        self._over = threading.Event()
        self.times: list[tuple[float, float]] = []
        self.failures: Counter[str] = Counter()
        works: list[Callable[[Any, np.random.Generator], None]] = [self._write, self._remove, self._flush]
        works += [self._plain, self._filtered, self._with_payloads][: max(1, readers)]
        self._threads = [threading.Thread(target=self._repeat, args=(i, work)) for i, work in enumerate(works)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, seed: int, work: Callable[[Any, np.random.Generator], None]) -> None:
        rng = np.random.default_rng(seed)
        with bebr.connect(self._target) as client:
            docs = client.collection(_NAME)
            while not self._over.is_set():
                try:
                    work(docs, rng)
                except Exception as error:
                    self.failures[f"{work.__name__.strip('_')}: {error!r}"[:200]] += 1

    def _write(self, docs: Any, rng: np.random.Generator) -> None:
        ids = np.unique(rng.integers(0, self._rows, _BATCH))
        docs.upsert(ids, self._vectors[ids], [{"n": int(i % 100)} for i in ids])
        self._over.wait(0.05)

    def _remove(self, docs: Any, rng: np.random.Generator) -> None:
        docs.delete(rng.integers(0, self._rows, 20))
        self._over.wait(0.2)

    def _flush(self, docs: Any, rng: np.random.Generator) -> None:
        self._over.wait(5)
        docs.flush()

    def _plain(self, docs: Any, rng: np.random.Generator) -> None:
        self._ask(docs, rng)

    def _filtered(self, docs: Any, rng: np.random.Generator) -> None:
        self._ask(docs, rng, filter={"n": {"lt": int(rng.integers(1, 100))}})

    def _with_payloads(self, docs: Any, rng: np.random.Generator) -> None:
        self._ask(docs, rng, with_payloads=True)

    def _ask(self, docs: Any, rng: np.random.Generator, **how: Any) -> None:
        begin = time.monotonic()
        docs.search(self._queries[rng.integers(len(self._queries))], 10, **how)
        spent = time.monotonic() - begin
        self.times.append((begin, 1e3 * spent))
        self._over.wait(max(0.0, 1 / self._rate - spent))


def run(options: argparse.Namespace) -> tuple[list[Window], Counter[str]]:
    source = mixture(options.dim, options.seed)
    x = np.concatenate([block for _, block in blocks(source, options.rows)])
    with tempfile.TemporaryDirectory() as path:
        first, second = (
            bebr.train(x[:20_000], bytes_per_vector=options.dim // 8 + 4, metric="cosine", seed=seed) for seed in (0, 1)
        )
        with bebr.open(path) as db:
            docs = db.create_collection(_NAME, first, keep="int8")
            docs.upsert(np.arange(len(x)), x, [{"n": i % 100} for i in range(len(x))])
            docs.settle()
        with servers.started("-c", f"from bebr.serve import serve; serve({path!r}, port=0)") as (target, pid):
            load = Load(target, x, source.queries(1024), options.readers, options.rate)
            load.start()
            try:
                return watch(target, pid, load, (second, first), options), load.failures
            finally:
                load.stop()


def watch(
    target: str, pid: int, load: Load, models: Sequence[bebr.Binarizer], options: argparse.Namespace
) -> list[Window]:
    """The windows of a run, in which the collection migrates to one of `models` after the other."""
    seconds = 60 * options.minutes
    begin, windows = time.monotonic(), list[Window]()
    due = [(begin + share * seconds, model) for share, model in zip(_MIGRATIONS, models, strict=True)]
    with bebr.connect(target) as client:
        docs = client.collection(_NAME)
        while (now := time.monotonic()) < begin + seconds:
            if due and now > due[0][0]:
                docs.migrate(due.pop(0)[1])
            time.sleep(options.window)
            ms = [spent for at, spent in list(load.times) if at >= now]
            stats = docs.stats()
            p50, p99 = np.quantile(ms, [0.5, 0.99]) if ms else (np.nan, np.nan)
            seen = len(ms), float(p50), float(p99), stats.segments, stats.rows, stats.model.digest
            windows.append(Window(now - begin, memory(pid), descriptors(pid), threads(pid), *seen))
            print(f"{windows[-1]}", file=sys.stderr, flush=True)
    return windows


def verdicts(
    windows: Sequence[Window], failures: Counter[str], level_alone: bool = False
) -> dict[str, tuple[bool, str]]:
    """Of each claim whether it holds, and by what. `level_alone`: of times there is none."""
    warm = list(windows[int(_WARM * len(windows)) :])
    count = max(1, len(warm) // 5)
    first, last = warm[:count], warm[-count:]
    grown = max(one.memory for one in last) / max(one.memory for one in first)
    slower = float(np.median([one.p99 for one in last]) / np.median([one.p99 for one in first]))
    # The least: a sample may come amid a merge, which holds files and threads for a while; a leak never ends.
    files = [min(one.descriptors for one in some) for some in (first, last)]
    both = [min(one.threads for one in some) for some in (first, last)]
    ended = sum(a.model != b.model for a, b in pairwise(windows))
    found = {
        "memory is flat": (grown <= 1.1, f"{grown:.2f} of the first windows"),
        "descriptors are as many": (files[1] <= files[0] + 2, f"{files[0]} and {files[1]}"),
        "threads are as many": (both[1] <= both[0] + 2, f"{both[0]} and {both[1]}"),
        "p99 is as it was": (slower <= 1.2, f"{slower:.2f} of the first windows"),
        "both migrations ended": (ended == len(_MIGRATIONS), f"{ended} of {len(_MIGRATIONS)}"),
        "no call failed": (not failures, ", ".join(f"{n} times {what}" for what, n in failures.items()) or "none"),
    }
    if level_alone:
        del found["p99 is as it was"]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--window", type=float, default=10, help="seconds")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--readers", type=int, default=3, help="1 to 3")
    parser.add_argument("--rate", type=float, default=50, help="calls a second of a reader")
    parser.add_argument("--level", action="store_true", help="no verdict of p99: for a busy machine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    windows, failures = run(options)
    found = verdicts(windows, failures, options.level)
    if options.json is not None:
        said = {name: {"holds": holds, "by": by} for name, (holds, by) in found.items()}
        output.save(options.json, machine.facts(bebr.get_num_threads()), list(map(asdict, windows)), verdicts=said)
    console = output.console()
    table = Table("s", "MiB", "descriptors", "threads", "calls", "p50, ms", "p99", "segments", "rows")
    for one in windows:
        figures = f"{one.p50:.1f}", f"{one.p99:.1f}", str(one.segments), f"{one.rows:,}"
        table.add_row(
            f"{one.at:.0f}",
            f"{one.memory / 2**20:.0f}",
            str(one.descriptors),
            str(one.threads),
            str(one.calls),
            *figures,
        )
    console.print(table)
    for name, (holds, by) in found.items():
        console.print(f"{'✓' if holds else '✗'} {name}: {by}")
    return 0 if all(holds for holds, _ in found.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
