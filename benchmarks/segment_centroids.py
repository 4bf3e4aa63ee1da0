"""Centroids of a segment's lists: k-means in one level beside two, and rows assigned by floats beside bf16.

    python -m benchmarks.segment_centroids docstrings glove generated
    python -m benchmarks.segment_centroids wordnet docstrings generated --rows 110000 --nlist 2048 4096

With ``--nlist``: rows assigned by a look at all of so many centroids beside one through groups of them, in turns, the
least of three.

What the lists hold: the share of a query's true ten nearest rows (by floats) in the 8 and 32 nearest lists, beside the
rows that these hold. Seconds are of CPU, by one thread. "generated" is the mixture of `benchmarks.ingest`, 300,000 x
384.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import bebr
from bebr.arrays import Floats
from bebr.exact import exact
from bebr.index.kmeans import kmeans, nearest
from bebr.store.segments.building import assigning, lists_for
from benchmarks import datasets, machine, output
from benchmarks.filters import mixture

K, PROBES, SAMPLE = 10, (8, 32), 64
BYTES, PIECE, TURNS = 52, 8192, 3
GENERATED = "generated"
P = ParamSpec("P")
T = TypeVar("T")


def vectors(name: str, rows: int) -> tuple[Floats, Floats]:
    """Rows and queries of unit length."""
    if name == GENERATED:
        source = mixture(384, 0)
        parts = source.rows(np.arange(rows)), source.queries(500)
    else:
        data = datasets.load(name)
        parts = data.base, data.queries[:500]
    base, queries = (np.asarray(part, np.float32) for part in parts)
    return (
        base / np.linalg.norm(base, axis=1, keepdims=True),
        queries / np.linalg.norm(queries, axis=1, keepdims=True),
    )


def spent(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, float]:
    start = time.process_time()
    made = work(*args, **kwargs)
    return made, time.process_time() - start


def held(of: NDArray[np.uint32], centroids: Floats, queries: Floats, truth: NDArray[np.int64]) -> list[str]:
    """What the nearest lists hold, and of how many rows."""
    sizes = np.bincount(of, minlength=len(centroids))
    order = np.argsort((centroids**2).sum(axis=1) / 2 - queries @ centroids.T, axis=1)
    told = []
    for nprobe in PROBES:
        there = (of[truth][:, :, None] == order[:, None, :nprobe]).any(axis=2).mean()
        told.append(f"{there:.4f} at {sizes[order[:, :nprobe]].sum(axis=1).mean():,.0f}")
    return told


def assigned(base: Floats, centroids: Floats) -> dict[str, tuple[float, NDArray[np.uint32]]]:
    """Microseconds a row and the list of each row, by ways to find it."""
    bz = bebr.untrained(base.shape[1], BYTES)
    builds = {"all": assigning(bz, centroids, len(centroids)), "groups": assigning(bz, centroids, 1)}
    found: dict[str, tuple[float, NDArray[np.uint32]]] = {}
    for _ in range(TURNS):
        for way, build in builds.items():
            pieces = [np.ascontiguousarray(base[at : at + PIECE]) for at in range(0, len(base), PIECE)]
            lists, seconds = spent(lambda: np.concatenate([build.assign(one, roughly=True) for one in pieces]))  # noqa: B023
            us = 1e6 * seconds / len(base)
            found[way] = min(us, found[way][0] if way in found else us), lists
    return found


def by_groups(sets: list[str], rows: int, nlists: list[int]) -> Table:
    table = Table("set", "lists", "looks at", "us a row", *(f"{nprobe} lists" for nprobe in PROBES), "same list")
    for name in sets:
        base, queries = vectors(name, rows)
        truth = exact(base, queries, K, "l2")
        for nlist in nlists:
            sample = base[np.sort(np.random.default_rng(0).permutation(len(base))[: SAMPLE * nlist])]
            centroids = kmeans(sample, nlist, 0, None, 1)
            found = assigned(base, centroids)
            for way, (us, of) in found.items():
                same = f"{(of == found['all'][1]).mean():.4f}"
                table.add_row(name, str(nlist), way, f"{us:.1f}", *held(of, centroids, queries, truth), same)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=[*datasets.names(), GENERATED], metavar="SET")
    parser.add_argument("--rows", type=int, default=300_000, help="of the generated set")
    parser.add_argument("--nlist", type=int, nargs="+", help="assign rows to so many lists, instead")
    options = parser.parse_args()
    if options.nlist:
        with machine.pinned(1):
            output.console().print(by_groups(options.sets, options.rows, options.nlist))
        return
    table = Table(
        "set", "lists", "k-means", "CPU s", *(f"{nprobe} lists" for nprobe in PROBES), "by bf16, us a row", "same list"
    )
    with machine.pinned(1):
        for name in options.sets:
            base, queries = vectors(name, options.rows)
            truth = exact(base, queries, K, "l2")
            nlist = lists_for(len(base))
            sample = base[np.sort(np.random.default_rng(0).permutation(len(base))[: SAMPLE * nlist])]
            for levels, most_direct in (("one level", nlist), ("two levels", 1)):
                centroids, seconds = spent(kmeans, sample, nlist, 0, None, most_direct)
                of, exactly = spent(nearest, base, centroids)
                about, roughly = spent(nearest, base, centroids, roughly=True)
                us = " / ".join(f"{1e6 * one / len(base):.1f}" for one in (exactly, roughly))
                table.add_row(
                    *(name, str(nlist), levels, f"{seconds:.1f}", *held(of, centroids, queries, truth)),
                    *(us, f"{(of == about).mean():.4f}"),
                )
    output.console().print(table)


if __name__ == "__main__":
    main()
