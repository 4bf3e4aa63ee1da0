"""Filters over payloads: recall and cost of a collection as fewer rows match, and what it takes to evaluate a filter.

    python -m benchmarks.filters --rows 1000000 --bytes 52 --json results/filters.json

The rows that match are drawn at random, or are those nearest to some vector; then the queries lie near it, or far from
it. Recall@k is against exact float search of the matching rows, beside that of the same queries without a filter, and
that of a scan of all matching codes, which no search by code is above but by chance. A search is to find as much as the
lower of these two. Costs are compared with those in a collection that holds the matching rows alone, twice: as it
searches by itself, and at equal recall. By itself it has calibrated for queries like its rows, so that for those far
from them it finds less, and is faster for it; at equal recall it then looks at as few lists as find what the filtered
search does, to LEVEL. Marks go by equal recall. These lists are chosen by the very queries that are timed, which
favours the collection apart; so where it finds as much by itself, it is not made to find less. Recall of 128 queries
and 10 neighbours has a standard deviation of .01 from queries to queries, and half of that is left between two searches
of the same ones: LEVEL. Calls of all take turns, each after one that is not timed, and the fastest counts. Every
collection is one file. Each filter comes WARM times first, as one does that is used. Vectors are a mixture of Gaussians
whose spectrum falls as 1/i, as that of real embeddings does.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from bebr.store.database import Database
from benchmarks import machine, output
from benchmarks.datasets import Floats, Ids
from benchmarks.mixture import Mixture

SHARES = (0.5, 0.1, 0.01, 0.001, 0.0001)
_WRITE = 65_536


@dataclass
class Row:
    """One kind of filter at one share. ``one`` and ``batch``: microseconds a query, alone and in a batch; ``*_apart``:
    those of the collection of the matching rows as it searches by itself, ``*_level``: where it looks at ``lists``, or
    at as many as by itself (0)."""

    kind: str
    share: float
    recall: float
    recall_apart: float
    recall_level: float
    unfiltered: float
    ceiling: float
    lists: int
    one: float
    one_apart: float
    one_level: float
    batch: float
    batch_apart: float
    batch_level: float
    short: int
    """Queries that got fewer than min(k, matching rows) results: must be 0."""


@dataclass
class Evaluation:
    """Milliseconds to find the rows that match one filter that was not asked before."""

    filter: str
    matching: int
    milliseconds: float


def mixture(dim: int, seed: int, centers: int = 1024) -> Mixture:
    chance = np.random.default_rng(seed)
    spectrum = (1 / np.sqrt(np.arange(1, dim + 1))).astype(np.float32)
    middles = chance.standard_normal((centers, dim), np.float32) * spectrum
    return Mixture(middles, np.tile(0.7 * spectrum, (centers, 1)), np.full(centers, 1 / centers), seed)


def payload(row: int, random: int, near: int) -> dict[str, Any]:
    """``random`` and ``near``: the row's places in an order by chance, and by nearness to some vector."""
    return {
        "random": random,
        "near": near,
        "lang": f"lang-{random % 100}",  # 1 % each
        "price": random / 8,
        "tags": [f"tag-{random % 50}", f"tag-{row % 7}"],
        "at": f"20{row % 25:02}-{1 + random % 12:02}-{1 + row % 28:02}T00:00:{row % 60:02}Z",
        "title": f"Title number {row}",
        "meta": {"draft": row % 10 == 0},
    }


def blocks(source: Mixture, rows: int) -> Iterator[tuple[int, Floats]]:
    begin = 0
    for block in source.blocks(0):
        block = block[: rows - begin]
        yield begin, block.copy()
        begin += len(block)
        if begin >= rows:
            return


def microseconds(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The fastest of each, in turns, each right after a call of its own: what another left in the caches, over the same
    rows or over others, is not to count."""
    best = [np.inf] * len(calls)
    for _ in range(rounds):
        for number, call in enumerate(calls):
            call()
            start = time.perf_counter()
            call()
            best[number] = min(best[number], time.perf_counter() - start)
    return [1e6 * seconds for seconds in best]


class Truth:
    """Exact neighbours among the rows of some filters, block by block."""

    def __init__(self, queries: Floats, filters: Sequence[tuple[str, int]], k: int) -> None:
        self._queries, self._k = queries, k
        shape = (len(queries), k)
        self.best = {one: (np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)) for one in filters}

    def add(self, begin: int, block: Floats, orders: dict[str, Ids]) -> None:
        scores = self._queries @ block.T
        ids = np.arange(begin, begin + len(block))
        for (kind, below), (best, found) in self.best.items():
            passing = np.flatnonzero(orders[kind][begin : begin + len(block)] < below)
            some = scores[:, passing]
            if some.shape[1] > self._k:
                top = np.argpartition(-some, self._k - 1, axis=1)[:, : self._k]
                some, numbers = np.take_along_axis(some, top, 1), ids[passing[top]]
            else:
                numbers = np.broadcast_to(ids[passing], some.shape)
            both = np.concatenate([best, some], axis=1)
            order = np.argsort(-both, axis=1, kind="stable")[:, : self._k]
            found[:] = np.take_along_axis(np.concatenate([found, numbers], axis=1), order, 1)
            best[:] = np.take_along_axis(both, order, 1)


def recall(ids: Ids, truth: Ids) -> float:
    wanted = (truth >= 0).sum()
    return float(sum(np.isin(t[t >= 0], i).sum() for i, t in zip(ids, truth, strict=True)) / max(wanted, 1))


def level(apart: Any, q: Floats, k: int, truth: Ids, least: float) -> tuple[int, float]:
    """How few lists find ``least``, in steps of a fifth, and what they do find; those that find most, where none do. 0:
    as many as it looks at by itself, which find it."""
    best = (0, recall(apart.search(q, k).ids, truth))
    before: Ids | None = None
    lists = 1
    while best[1] < least:
        ids = apart.search(q, k, nprobe=lists).ids
        found = recall(ids, truth)
        if found > best[1]:
            best = (lists, found)
        if before is not None and np.array_equal(ids, before):  # there are no more of them
            break
        before = ids
        lists = max(lists + 1, round(lists * 2**0.25))
    return best


def fill(collection: Any, source: Mixture, rows: int, orders: dict[str, Ids], chosen: Ids | None) -> None:
    """Rows with their payloads; of ``chosen`` only (a bool a row), without."""
    for begin, block in blocks(source, rows):
        ids = np.arange(begin, begin + len(block))
        if chosen is not None:
            mine = chosen[ids]
            collection.upsert(ids[mine], block[mine])
        else:
            numbers = zip(ids.tolist(), orders["random"][ids].tolist(), orders["near"][ids].tolist(), strict=True)
            collection.upsert(ids, block, [payload(*three) for three in numbers])
    collection.settle()


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[Row], list[Evaluation]]:
    source = mixture(options.dim, options.seed)
    rows, k = options.rows, options.k
    chance = np.random.default_rng(options.seed + 1)
    anchor = source.queries(1)[0]
    nearness = np.concatenate([block @ anchor for _, block in blocks(source, rows)])
    orders = {"random": chance.permutation(rows), "near": np.empty(rows, np.int64)}
    orders["near"][np.argsort(-nearness)] = np.arange(rows)
    pool = source.queries(4096)[1:]
    by_nearness = np.argsort(-(pool @ anchor))
    asked = {
        "random": pool[: options.queries],
        "near": pool[by_nearness[: options.queries]],
        "far": pool[by_nearness[-options.queries :]],
    }
    filters = [("random" if kind == "random" else "near", round(share * rows)) for kind in asked for share in SHARES]
    truths = {
        kind: Truth(q, [*{f for f in filters if (f[0] == "random") == (kind == "random")}, ("random", rows)], k)
        for kind, q in asked.items()
    }
    for begin, block in blocks(source, rows):
        for truth in truths.values():
            truth.add(begin, block, orders)
    if options.model is not None:
        binarizer = bebr.Binarizer.load(options.model)
    else:
        sample = next(iter(blocks(source, min(rows, 65_536))))[1]
        binarizer = bebr.train(sample, bytes_per_vector=options.bytes, metric="cosine", seed=0)
    made: list[Row] = []
    # Nothing is sealed before all rows are there: how fast they came does not decide on the files.
    with Database(folder, verify=False, seal_rows=rows + 1) as db:
        everything = db.create_collection("everything", binarizer)
        fill(everything, source, rows, orders, None)
        evaluations = evaluate(everything, options.rounds)
        plain = {
            kind: recall(everything.search(q, k).ids, truths[kind].best["random", rows][1]) for kind, q in asked.items()
        }
        for field in ("random", "near"):
            for share in SHARES:
                below = round(share * rows)
                apart = db.create_collection(f"{field}-{below}", binarizer)
                fill(apart, source, rows, orders, orders[field] < below)
                filter = bebr.F(field) < below
                for kind, q in asked.items():
                    if (field == "random") != (kind == "random"):
                        continue
                    found = everything.search(q, k, filter=filter).ids
                    for one in range(WARM):
                        everything.search(q[one % len(q)], k, filter=filter)
                    wanted = truths[kind].best[field, below][1]
                    lists, at_level = level(apart, q, k, wanted, recall(found, wanted) - LEVEL)
                    spent = microseconds(searches(everything, apart, q, k, filter, lists), options.rounds)
                    made.append(
                        Row(
                            kind=kind,
                            share=share,
                            recall=recall(found, wanted),
                            recall_apart=recall(apart.search(q, k).ids, wanted),
                            recall_level=at_level,
                            unfiltered=plain[kind],
                            ceiling=recall(apart.search(q, k, exact=True).ids, wanted),
                            lists=lists,
                            one=spent[0] / SINGLES,
                            one_apart=spent[1] / SINGLES,
                            one_level=spent[2] / SINGLES,
                            batch=spent[3] / len(q),
                            batch_apart=spent[4] / len(q),
                            batch_level=spent[5] / len(q),
                            short=int(((found >= 0).sum(axis=1) < min(k, below)).sum()),
                        )
                    )
                db.drop_collection(f"{field}-{below}")
    return made, evaluations


SINGLES, WARM = 20, 300
LEVEL = 0.005


def searches(everything: Any, apart: Any, q: Floats, k: int, filter: Any, lists: int) -> list[Callable[[], Any]]:
    """Queries one by one, and together; of all rows with the filter, of those that match, and in so many lists of these
    (0: as it does by itself)."""

    def singly(collection: Any, **how: Any) -> Callable[[], Any]:
        return lambda: [collection.search(one, k, **how) for one in q[:SINGLES]]

    return [
        singly(everything, filter=filter),
        singly(apart),
        singly(apart, nprobe=lists or None),
        lambda: everything.search(q, k, filter=filter),
        lambda: apart.search(q, k),
        lambda: apart.search(q, k, nprobe=lists or None),
    ]


def evaluate(collection: Any, rounds: int) -> list[Evaluation]:
    """Filters of every kind; each time another one, so that no answer is kept."""
    f = bebr.F
    rows = len(collection)
    kinds: list[tuple[str, Callable[[int], Any]]] = [
        ("whole numbers, a range", lambda i: (f("random") >= rows // 4 + i) & (f("random") < rows // 2)),
        ("floats, a range", lambda i: f("price") < rows / 16 + i),
        ("a keyword of 1 %", lambda i: f("lang") == f"lang-{i}"),
        ("ten keywords of 1 %", lambda i: f("lang").isin([f"lang-{i + j}" for j in range(10)])),
        ("not a keyword", lambda i: f("lang") != f"lang-{i}"),
        ("lists, an element of 2 %", lambda i: f("tags") == f"tag-{10 + i}"),
        ("text, equal", lambda i: f("title") == f"Title number {i}"),
        ("times, a range", lambda i: f("at") >= np.datetime64("2010-01-01").astype(object).replace(day=1 + i)),
        ("inside an object, a bool", lambda i: (f("meta.draft") == True) & (f("random") > i)),  # noqa: E712
        ("a field that no row has", lambda i: f(f"none-{i}").exists()),
        ("text, contains (payloads are read)", lambda i: f("title").contains(f"number {i}1")),
    ]
    made = []
    for name, filter in kinds:
        seconds = []
        matching = 0
        for i in range(2 if "payloads" in name else rounds):
            start = time.perf_counter()
            matching = collection.count(filter(i))
            seconds.append(time.perf_counter() - start)
        made.append(Evaluation(name, matching, 1e3 * statistics.median(seconds)))
    return made


def tables(rows: Sequence[Row], evaluations: Sequence[Evaluation], title: str) -> tuple[Table, Table]:
    """Recall below that without a filter and that of all codes, a cost above 1.3 times that at equal recall and a short
    answer are marked."""
    searched = Table(title=title)
    for name in (
        "rows, queries",
        "match",
        "recall",
        "unfiltered",
        "all codes",
        "apart",
        "level",
        "lists",
        "µs",
        "times apart",
        "times level",
        "µs batch",
        "times apart",
        "times level",
        "short",
    ):
        searched.add_column(name, justify="left" if name == "rows, queries" else "right")
    for row in rows:
        one, batch = row.one / row.one_level, row.batch / row.batch_level
        wanted = min(row.unfiltered, row.ceiling) - LEVEL
        searched.add_row(
            *(row.kind, f"{row.share:.2%}"),
            f"{row.recall:.4f}{' ✗' if row.recall < wanted else ''}",
            *(f"{row.unfiltered:.4f}", f"{row.ceiling:.4f}", f"{row.recall_apart:.4f}", f"{row.recall_level:.4f}"),
            *(str(row.lists or "own"), f"{row.one:.0f}", f"{row.one / row.one_apart:.2f}"),
            f"{one:.2f}{' ✗' if one > 1.3 else ''}",
            *(f"{row.batch:.1f}", f"{row.batch / row.batch_apart:.2f}"),
            f"{batch:.2f}{' ✗' if batch > 1.3 else ''}",
            f"{row.short}{' ✗' if row.short else ''}",
        )
    evaluated = Table(title="a filter, evaluated")
    for name in ("filter", "rows that match", "ms"):
        evaluated.add_column(name, justify="left" if name == "filter" else "right")
    for evaluation in evaluations:
        evaluated.add_row(evaluation.filter, f"{evaluation.matching:,}", f"{evaluation.milliseconds:.2f}")
    return searched, evaluated


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.filters", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--bytes", type=int, default=52)
    parser.add_argument("--model", type=Path, help="a binarizer's file, in place of training one")
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, machine.pinned(options.threads):
        rows, evaluations = measure(options, Path(folder))
    title = f"{options.rows:,} rows of {options.bytes} bytes, {options.threads} thread(s)"
    for table in tables(rows, evaluations, title):
        output.console().print(table)
    if options.json is not None:
        both = [*map(asdict, rows), *map(asdict, evaluations)]
        output.save(options.json, machine.facts(options.threads), both, rows_in_all=options.rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
