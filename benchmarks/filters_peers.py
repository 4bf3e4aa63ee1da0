"""Filters over fields beside other databases: recall and time of a search, on the same rows and filters, in one run.

    python -m benchmarks.filters_peers --rows 1000000 --most "pgvector|milvus=200000" --json filters_peers.json

Rows, filters and queries are those of `benchmarks.filters`: the rows that match are drawn at random, or are those
nearest to some vector; then the queries lie near it, or far from it. All databases hold the rows at once, and answer
each filter in turns, one query at a time, on `--threads` processors, their servers included. A database that cannot
take so many rows in time takes the first of them (`--most`), and its recall is against these. Recall@k is against exact
float search of the matching rows. `first`: milliseconds of the first query with a filter; `ms`: the median of the
queries after all of them were asked once.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import databases, machine, output
from benchmarks.databases import Absent, Below, Database, Setting
from benchmarks.datasets import Floats, Ids
from benchmarks.filters import SHARES, Truth, blocks, mixture, recall
from benchmarks.mixture import Mixture

_FIELDS = ("random", "near")
_ALL = "random"  # the field of the filter that lets every row through, for the exact answers without one


@dataclass
class Row:
    """One database at one setting under one kind of filter. ``short``: queries with fewer than min(k, matching rows)
    results."""

    engine: str
    setting: str
    rows: int
    kind: str
    share: float
    recall: float
    unfiltered: float
    first: float
    ms: float
    short: int


@dataclass
class Build:
    """Seconds to add the rows and to build indexes, and what lies on the disk then."""

    engine: str
    version: str
    rows: int
    add: float
    finish: float
    mib: float


@dataclass
class Opened:
    name: str
    rows: int
    database: Database


class Data:
    """Rows of a mixture, the two orders that filters go by, queries, and exact answers."""

    def __init__(self, options: argparse.Namespace, sizes: Sequence[int]) -> None:
        self.source: Mixture = mixture(options.dim, options.seed)
        rows = self.rows = options.rows
        anchor = self.source.queries(1)[0]
        nearness = np.concatenate([block @ anchor for _, block in blocks(self.source, rows)])
        self.orders = {"random": np.random.default_rng(options.seed + 1).permutation(rows)}
        self.orders["near"] = np.empty(rows, np.int64)
        self.orders["near"][np.argsort(-nearness)] = np.arange(rows)
        pool = self.source.queries(4096)[1:]
        order = np.argsort(-(pool @ anchor))
        self.asked = {
            "random": pool[: options.queries],
            "near": pool[order[: options.queries]],
            "far": pool[order[-options.queries :]],
        }
        self._truths = {
            (size, kind): Truth(q, [*((_field(kind), self.bound(share)) for share in SHARES), (_ALL, rows)], options.k)
            for size in sizes
            for kind, q in self.asked.items()
        }
        for begin, block in blocks(self.source, rows):
            for (size, _), truth in self._truths.items():
                if begin < size:
                    truth.add(begin, block[: size - begin], self.orders)

    def bound(self, share: float) -> int:
        return round(share * self.rows)

    def truth(self, size: int, kind: str, share: float | None) -> Ids:
        """Of the first `size` rows; `share` None: without a filter."""
        field, bound = (_ALL, self.rows) if share is None else (_field(kind), self.bound(share))
        found: Ids = self._truths[size, kind].best[field, bound][1]
        return found


def _field(kind: str) -> str:
    return "random" if kind == "random" else "near"


def fill(database: Database, data: Data, rows: int) -> tuple[float, float]:
    """Seconds of adding so many rows, and of building indexes."""
    spent = 0.0
    for begin, block in blocks(data.source, rows):
        ids = np.arange(begin, begin + len(block))
        fields = {name: data.orders[name][ids] for name in _FIELDS}
        start = time.perf_counter()
        database.add(ids, block, fields)
        spent += time.perf_counter() - start
    start = time.perf_counter()
    database.finish()
    return spent, time.perf_counter() - start


def ask(database: Database, queries: Floats, k: int, below: Below | None, setting: Setting) -> tuple[Ids, list[float]]:
    """The ids of each query, -1 where there are fewer than k; milliseconds of each."""
    found = np.full((len(queries), k), -1, np.int64)
    spent = []
    for row, query in zip(found, queries, strict=True):
        start = time.perf_counter()
        ids = list(database.search(query, k, below, setting))
        spent.append(1e3 * (time.perf_counter() - start))
        row[: len(ids)] = ids
    return found, spent


@contextmanager
def processors(count: int) -> Iterator[None]:
    """Holds this process, its threads and the processes that it started to so many processors."""
    before = os.sched_getaffinity(0)
    some = set(sorted(before)[:count])
    _pin(some)
    try:
        yield
    finally:
        _pin(before)


def _pin(processors: set[int]) -> None:
    """Threads that end meanwhile are passed over."""
    for process in _family(os.getpid()):
        for task in Path(f"/proc/{process}/task").glob("*"):
            try:
                os.sched_setaffinity(int(task.name), processors)
            except (ProcessLookupError, PermissionError):
                continue


def _family(process: int) -> list[int]:
    """A process and all that it started."""
    children = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children += [int(child) for child in path.read_text().split()]
        except OSError:
            continue
    return [process, *(one for child in children for one in _family(child))]


def measure(data: Data, opened: Sequence[Opened], options: argparse.Namespace) -> Iterator[Row]:
    """Filter by filter, all databases in turns."""
    unfiltered: dict[tuple[str, str, str], float] = {}
    for kind, queries in data.asked.items():
        for share in (None, *SHARES):
            below = None if share is None else Below(_field(kind), data.bound(share))
            for one in opened:
                truth = data.truth(one.rows, kind, share)
                for setting in one.database.settings:
                    _, warming = ask(one.database, queries, options.k, below, setting)
                    found, spent = ask(one.database, queries, options.k, below, setting)
                    reached = recall(found, truth)
                    named = " ".join(f"{name}={value}" for name, value in setting.items())
                    if share is None:
                        unfiltered[one.name, named, kind] = reached
                    yield Row(
                        *(one.name, named, one.rows, kind, 1.0 if share is None else share),
                        *(reached, unfiltered[one.name, named, kind]),
                        *(warming[0], statistics.median(spent)),
                        short=int(((found >= 0).sum(axis=1) < (truth >= 0).sum(axis=1)).sum()),
                    )


def run(options: argparse.Namespace, console: Console) -> tuple[list[Row], list[Build]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # a server may run as another user
        chosen = {name: maker for name, maker in databases.MAKERS.items() if re.search(options.engines, name)}
        sizes = {name: _most(options, name) for name in chosen}
        data = Data(options, sorted(set(sizes.values())))
        opened, builds = [], []
        for name, maker in chosen.items():
            place = folder / name.replace(" ", "-")
            place.mkdir()
            try:
                database, version = maker(place, options.dim, _FIELDS)
            except Absent as absent:
                console.print(str(absent))
                continue
            stack.callback(database.close)
            try:
                add, finish = fill(database, data, sizes[name])
            except Exception as error:  # whatever a peer raises: the others are still compared
                if name.startswith("bebr"):
                    raise
                console.print(f"{name} {version} could not take the rows, and is left out: {error!r}")
                continue
            size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
            builds.append(Build(name, version, sizes[name], add, finish, size / 2**20))
            console.print(f"{name} {version}: {sizes[name]:,} rows added in {add:.0f} s, indexed in {finish:.0f} s")
            opened.append(Opened(name, sizes[name], database))
        rows = []
        with processors(options.threads):
            for row in measure(data, opened, options):
                rows.append(row)
                if options.json is not None:
                    save(options, rows, builds)
    return rows, builds


def _most(options: argparse.Namespace, name: str) -> int:
    """How many rows a database takes."""
    for pattern, rows in options.most:
        if re.search(pattern, name):
            return min(rows, options.rows)
    return int(options.rows)


def save(options: argparse.Namespace, rows: Sequence[Row], builds: Sequence[Build]) -> None:
    figures = [*map(asdict, builds), *map(asdict, rows)]
    output.save(options.json, machine.facts(options.threads), figures, dim=options.dim, k=options.k)


def table(rows: Sequence[Row], title: str) -> Table:
    """One line a database, setting and kind; recall and ms a share. A short answer, and a recall more than .005 below
    that without a filter, are marked."""
    shares = sorted({row.share for row in rows}, reverse=True)
    made = Table("database", "setting", "rows", "filter, queries", title=title)
    for share in shares:
        made.add_column("all" if share == 1 else f"{share:.4g}", justify="right")
    for key in dict.fromkeys((row.engine, row.setting, row.rows, row.kind) for row in rows):
        cells = {row.share: row for row in rows if (row.engine, row.setting, row.rows, row.kind) == key}
        made.add_row(key[0], key[1], f"{key[2]:,}", key[3], *(_cell(cells[share]) for share in shares))
    return made


def _cell(row: Row) -> str:
    lower = " ↓" if row.recall < row.unfiltered - 0.005 else ""
    short = f" ✗{row.short}" if row.short else ""
    return f"{row.recall:.3f}{lower}{short} {row.ms:.2f} ({row.first:.1f})"


def _limit(given: str) -> tuple[str, int]:
    pattern, _, rows = given.rpartition("=")
    return pattern, int(float(rows))


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.filters_peers", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1, help="processors of a search; building takes all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines", default=".", help="databases, a regular expression")
    parser.add_argument("--most", type=_limit, action="append", default=[], help="REGEX=ROWS: rows of some of them")
    parser.add_argument("--json", type=Path, help="write figures, machine and versions here as they come")
    options = parser.parse_args(arguments)
    console = console or output.console()
    with machine.pinned(options.threads):
        rows, builds = run(options, console)
    sizes = Table("database", "version", "rows", "added, s", "indexed, s", "MiB on disk")
    for build in builds:
        figures = f"{build.add:.0f}", f"{build.finish:.0f}", f"{build.mib:.0f}"
        sizes.add_row(build.engine, build.version, f"{build.rows:,}", *figures)
    console.print(sizes)
    console.print(table(rows, f"recall@{options.k}, ms a query (the first), {options.threads} processor(s)"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
