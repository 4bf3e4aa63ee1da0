"""More than 4,096 lists are ranked through groups of centroids: what that loses of true neighbours, and what it costs.

    python -m benchmarks.many_centroids wordnet --nlist 8192

Of the true ten nearest rows, the share that lies in the `nprobe` lists that a search looks at, beside the share in the
`nprobe` nearest lists; and the milliseconds of a query to rank them, one query a call and in one batch, by one thread.
`--index FILE --truth FILE` measures a file of `benchmarks.attached` instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import bebr
from bebr.arrays import Floats, Ids
from bebr.exact import exact
from bebr.index.base import core_queries, search_options
from bebr.index.ivf import IVFIndex
from bebr.store.segments.calibrating import looked_at
from benchmarks import datasets, machine, output
from benchmarks.attached import QUERIES
from benchmarks.filters import mixture

K, PROBES = 10, (1, 8, 32, 64, 128, 256, 512)


def of_set(name: str, nlist: int, byte_count: int) -> tuple[IVFIndex, Floats, Ids]:
    """An index of a set's rows, of unit length, queries and their true neighbours."""
    data = datasets.load(name)
    base, queries = (
        np.asarray(part, np.float32) / np.linalg.norm(part, axis=1, keepdims=True)
        for part in (data.base, data.queries[:500])
    )
    index = IVFIndex(bebr.untrained(base.shape[1], byte_count, metric="cosine"), nlist=nlist)
    index.train(base)
    index.add(base)
    return index, queries, exact(base, queries, K, "cosine")


def of_file(path: Path, truth: Path) -> tuple[IVFIndex, Floats, Ids]:
    """The same of a file that `benchmarks.attached` built."""
    index = bebr.open_index(path)
    assert isinstance(index, IVFIndex)
    found = np.load(truth)["ids"]
    return index, mixture(index.binarizer.input_dim, 0).queries(QUERIES), np.where(found < len(index), found, -1)


def milliseconds(work: Callable[[int], Any], nprobe: int) -> float:
    """Processor time of `work(nprobe)`, the median of five."""
    spent = []
    for _ in range(5):
        start = time.thread_time()
        work(nprobe)
        spent.append(time.thread_time() - start)
    return 1e3 * float(np.median(spent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", choices=datasets.names(), metavar="SET")
    parser.add_argument("--nlist", type=int, default=8192)
    parser.add_argument("--bytes", type=int, default=52)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--truth", type=Path)
    options = parser.parse_args()
    if (options.set is None) == (options.index is None) or (options.index is None) != (options.truth is None):
        parser.error("want a set, or --index and --truth")
    table = Table("lists looked at", "true neighbours in them", "in the nearest lists", "ms a query", "in a batch")
    with machine.pinned(1):
        if options.set is not None:
            index, queries, truth = of_set(options.set, options.nlist, options.bytes)
        else:
            index, queries, truth = of_file(options.index, options.truth)
        bz = index.binarizer
        there = truth >= 0
        positions = index.positions(np.where(there, truth, 0).ravel())
        lists = np.searchsorted(np.cumsum(index.list_sizes), positions, side="right").reshape(truth.shape)
        centroids = np.asarray(index._engine.centroids)  # noqa: SLF001  no public name
        vectors = bz.vectors(queries)
        order = np.argsort((centroids**2).sum(axis=1) / 2 - vectors @ centroids.T, axis=1)
        place = np.argsort(order, axis=1)  # of each list among those of a query
        prepared = bz.prepare_vectors(vectors)
        singles = [bz.prepare_vectors(vectors[i : i + 1]) for i in range(len(vectors))]

        def singly(nprobe: int) -> None:
            for one in singles:
                ranked(index, one, nprobe)

        for nprobe in PROBES:
            looked = looked_at(index, prepared, nprobe)
            shares = [np.take_along_axis(seen, lists, axis=1)[there].mean() for seen in (looked, place < nprobe)]
            times = (milliseconds(singly, nprobe), milliseconds(lambda n: ranked(index, prepared, n), nprobe))
            told = (*(f"{one:.4f}" for one in shares), *(f"{one / len(queries):.3f}" for one in times))
            table.add_row(str(nprobe), *told)
    output.console().print(table)


def ranked(index: IVFIndex, prepared: Any, nprobe: int) -> Any:
    """The lists that searches look at, as the engine has them."""
    how = search_options(1, exact=True, nprobe=nprobe)
    return index._engine.looked_at(core_queries(prepared, False), how)  # noqa: SLF001  no public name


if __name__ == "__main__":
    main()
