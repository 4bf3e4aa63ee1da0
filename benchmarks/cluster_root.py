"""What a root costs over its leaves: in the time of one query, and in CPU time of many.

    python -m benchmarks.cluster_root [--rows 40000] [--rounds 3] [--seconds 2] [--json FILE]

For the record: `--rows 1000000 --rounds 5 --seconds 5`, on a machine that does nothing else.

PostgreSQL, four leaves of one thread that have a shard each, a fifth that has the same rows in one collection, and two
roots: each a process of its own. All queries are those of the light client (benchmarks/call_load.cpp), the same for a
root and for a leaf, and one process of it asks all of them.

* **p50**: of a root, of a leaf with one shard and of the leaf with all rows, one call outstanding, in turns. Where
  there are fewer cores than leaves, these wait for each other, which is no cost of the root: how long, is a line
  without an aim.
* **CPU**: of the leaves for searches of one shard each, asked directly, over that of leaves and roots together for the
  same searches through both roots, at equal calls outstanding at each leaf. So 1 is a root that costs nothing.
  **Wall**: searches of shards in a second through the roots, over those directly. Where there are fewer cores than
  processes they share these with each other and with the client, which asks four times as often directly.
  **Batch**: queries that a leaf searched for by one kernel call, in the mean; a leaf needs less for each of several.
* **Idle**: CPU of processes while nobody searches: roots look at leaves, and leaves at PostgreSQL. It is in all figures
  of CPU.

Needs `pip install 'bebr[cluster,server,bench]'` and PostgreSQL's server. Exit 1 on a missed aim.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from benchmarks import machine, output
from benchmarks.call_load import Answered, loaded
from benchmarks.filters import blocks, mixture
from benchmarks.postgres import Postgres
from benchmarks.servers import computed, started

NAME, ALL, SHARDS = "docs", "all", 4
BEYOND_MS, CPU_SHARE = 1.0, 0.8
OUTSTANDING = (1, 8)  # at each of two roots
_TRAINED = 20_000

Servers = Sequence[tuple[str, int]]  # address and number of each process


@dataclass(frozen=True)
class Waits:
    """p50 of one round, ms."""

    root: float
    shard: float
    all: float


@dataclass(frozen=True)
class Work:
    """Of one round. `outstanding`: calls at each root; µs of CPU time: `alone_us` of a leaf for a search of its shard,
    asked directly; `leaves_us` and `roots_us` of all for one query through a root. `alone_s`, `through_s`: searches of
    shards in a second. `alone_batch`, `through_batch`: queries that a leaf searched for by one kernel call."""

    outstanding: int
    alone_us: float
    leaves_us: float
    roots_us: float
    alone_s: float
    through_s: float
    alone_batch: float
    through_batch: float

    @property
    def share(self) -> float:
        """What leaves alone need, of what all need."""
        return SHARDS * self.alone_us / (self.leaves_us + self.roots_us)

    @classmethod
    def of(cls, outstanding: int, direct: Answered, through: Answered, batches: tuple[float, float]) -> Work:
        """`through`: its CPU time is that of the leaves, and then of the roots."""
        leaves, roots = sum(through.each_us[:SHARDS]), sum(through.each_us[SHARDS:])
        rates = direct.calls_per_second, SHARDS * through.calls_per_second
        return cls(outstanding, direct.server_us, leaves, roots, *rates, *batches)


@dataclass(frozen=True)
class Idle:
    """ms of CPU time in a second, of one leaf and of one root."""

    leaf: float
    root: float


def leaf(url: str, folder: Path, shards: str) -> list[str]:
    """The arguments of a leaf that takes these."""
    cache = folder / f"cache-{shards.replace(':', '-')}"
    about = ["--segments", f"file://{folder}/segments", "--cache", str(cache), "--threads", "1", "--port", "0"]
    return ["-m", "bebr", "leaf", url, "--shards", shards, *about]


@cache
def model(dim: int) -> bebr.Binarizer:
    """Of the rows of `fill`."""
    x = next(mixture(dim, 0).blocks(0))[:_TRAINED]
    return bebr.train(x, bytes_per_vector=52, metric="cosine", seed=0)


def fill(address: str, name: str, rows: int, dim: int) -> None:
    """A collection of these rows, which has nothing left to merge and trains nothing; by the same model, whoever serves
    it."""
    with bebr.connect(address, timeout=600) as db:
        docs = db.create_collection(name, model(dim), retrain=False)
        for first, block in blocks(mixture(dim, 0), rows):
            docs.upsert(range(first, first + len(block)), block)
        docs.settle()


@contextmanager
def running(folder: Path) -> Iterator[tuple[str, Servers, Servers]]:
    """The database's URL, leaves, and roots."""
    with ExitStack() as stack:
        (folder / "pg").mkdir()
        postgres = Postgres(folder / "pg")
        stack.callback(postgres.stop)
        bebr.open(postgres.url, segments=f"file://{folder}/segments").close()  # makes it
        leaves = [
            stack.enter_context(started(*leaf(postgres.url, folder, f"{NAME}:{number}"))) for number in range(SHARDS)
        ]
        root = ("-m", "bebr", "root", postgres.url, "--shards", str(SHARDS), "--port", "0")
        yield postgres.url, leaves, [stack.enter_context(started(*root)) for _ in range(2)]


def shard_names() -> list[str]:
    """What leaves call their shards."""
    return [f"{NAME}.{number}of{SHARDS}" for number in range(SHARDS)]


def waited(root: tuple[str, int], leaves: Servers, whole: tuple[str, int], dim: int, options: Any) -> list[Waits]:
    """Of each round; another leaf is asked directly in each."""
    found = []
    for number in range(options.rounds):
        turn = number % SHARDS
        kinds = ((root, NAME), (leaves[turn], shard_names()[turn]), (whole, ALL))
        p50 = [loaded([address], [name], [pid], dim, 1, 1, options.seconds).p50_us for (address, pid), name in kinds]
        found.append(Waits(*(one / 1e3 for one in p50)))
        print(found[-1], file=sys.stderr, flush=True)
    return found


def idle(leaves: Servers, roots: Servers, seconds: float) -> Idle:
    """While nobody searches."""

    def used(servers: Servers) -> float:
        return sum(computed(pid) for _, pid in servers)

    before = used(leaves), used(roots)
    time.sleep(seconds)
    each = len(leaves) * seconds, len(roots) * seconds
    return Idle(*(1e3 * (used(of) - b) / n for of, b, n in zip((leaves, roots), before, each, strict=True)))


def batched(leaves: Servers) -> tuple[int, int]:
    """Queries so far, and kernel calls for them, of all shards."""
    queries = calls = 0
    for (address, _), name in zip(leaves, shard_names(), strict=True):
        with bebr.connect(address) as db:
            said = db.collection(name).stats().batching
        assert said is not None, "servers say it"
        queries, calls = queries + said.queries, calls + said.batches
    return queries, calls


def worked(leaves: Servers, roots: Servers, dim: int, options: Any) -> list[Work]:
    """Of each round, at every number of calls outstanding."""
    found = []
    pids = [pid for _, pid in leaves], [pid for _, pid in (*leaves, *roots)]
    for _ in range(options.rounds):
        for outstanding in OUTSTANDING:
            each = len(roots) * outstanding  # at each leaf, as each query asks all
            addresses, first = [address for address, _ in leaves], batched(leaves)
            direct = loaded(addresses, shard_names(), pids[0], dim, SHARDS * each, SHARDS, options.seconds)
            addresses, between = [address for address, _ in roots], batched(leaves)
            through = loaded(addresses, [NAME], pids[1], dim, each, len(roots), options.seconds)
            said = (first, between, batched(leaves))
            batches = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in itertools.pairwise(said)]
            found.append(Work.of(outstanding, direct, through, (batches[0], batches[1])))
            print(found[-1], file=sys.stderr, flush=True)
    return found


def medians(found: Sequence[Any]) -> Any:
    """One that has the median of each figure."""
    of = [asdict(one) for one in found]
    return type(found[0])(**{name: type(of[0][name])(np.median([one[name] for one in of])) for name in of[0]})


def held_up(work: Work, cores: int) -> float:
    """ms by which the last of the leaves of a query is late, since there are fewer cores than leaves."""
    return (max(SHARDS / cores, 1.0) - 1.0) * work.leaves_us / SHARDS / 1e3


def verdicts(waits: Waits, works: Sequence[Work], rows: int) -> list[tuple[str, float, float, bool]]:
    """Each aim in words, what it asks, what was reached, and whether that is met."""
    lines = []
    for what, alone in ((f"{rows // SHARDS:,} rows, a shard", waits.shard), (f"all {rows:,} rows", waits.all)):
        beyond = waits.root - alone
        lines.append((f"p50 of a root beyond a leaf of {what}, ms", BEYOND_MS, beyond, beyond <= BEYOND_MS))
    for work in works:
        words = f"CPU of leaves alone over leaves and 2 roots, {work.outstanding} outstanding at each"
        lines.append((words, CPU_SHARE, work.share, work.share >= CPU_SHARE))
    return lines


def tables(
    waits: Waits, works: Sequence[Work], rest: Idle, lines: Sequence[tuple[str, float, float, bool]]
) -> list[Table]:
    cores = len(os.sched_getaffinity(0))
    table = Table(
        *("outstanding at a root", "leaf alone, µs", "4 leaves, µs", "roots, µs", "CPU share"),
        *("searches of shards/s, direct", "through roots", f"wall share, {cores} cores"),
        *("queries a kernel call, direct", "through roots"),
    )
    for one in works:
        table.add_row(
            *(str(one.outstanding), f"{one.alone_us:.1f}", f"{one.leaves_us:.1f}", f"{one.roots_us:.1f}"),
            *(f"{one.share:.3f}", f"{one.alone_s:,.0f}", f"{one.through_s:,.0f}", f"{one.through_s / one.alone_s:.2f}"),
            *(f"{one.alone_batch:.1f}", f"{one.through_batch:.1f}"),
        )
    aims = Table("aim", "asked", "reached", "")
    for words, aim, reached, met in lines:
        aims.add_row(words, f"{aim:g}", f"{reached:.3f}", "met" if met else "[bold]missed[/bold]")
    floors = {
        "p50 of a root, ms": waits.root,
        "p50 of a leaf of one shard, ms": waits.shard,
        "p50 of a leaf of all rows, ms": waits.all,
        f"of a root's: its leaves wait for each other, {SHARDS} on {cores} cores, ms": held_up(works[0], cores),
        "idle: CPU of a leaf, ms a second": rest.leaf,
        "idle: CPU of a root, ms a second": rest.root,
    }
    for words, figure in floors.items():
        aims.add_row(words, "", f"{figure:.3f}", "")
    return [table, aims]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    before = os.getloadavg()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bebr-root-", dir="/tmp")))
        folder.chmod(0o755)
        url, leaves, roots = stack.enter_context(running(folder))
        begun = time.monotonic()
        fill(roots[0][0], NAME, options.rows, options.dim)
        with started(*leaf(url, folder, f"{ALL}:0")) as whole:
            fill(whole[0], ALL, options.rows, options.dim)
            print(f"filled in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
            waits = waited(roots[0], leaves, whole, options.dim, options)
        works = worked(leaves, roots, options.dim, options)
        rest = idle(leaves, roots, 2 * options.seconds)
    middle = medians(waits)
    of = [medians([one for one in works if one.outstanding == outstanding]) for outstanding in OUTSTANDING]
    lines = verdicts(middle, of, options.rows)
    for table in tables(middle, of, rest, lines):
        output.console().print(table)
    print(f"load before: {before[0]:.1f}")
    if options.json:
        about: dict[str, Any] = {"options": {**vars(options), "json": None}, "load": before, "verdicts": lines}
        about["idle"] = asdict(rest)
        rows = [*map(asdict, waits), *map(asdict, works)]
        output.save(options.json, machine.facts(1), rows, **about)
    return int(not all(met for *_, met in lines))


if __name__ == "__main__":
    sys.exit(main())
