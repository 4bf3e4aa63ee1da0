"""What is shown on a GPU, at sizes of the caller's: test_cuda.py wants large ones, and test_cuda_dry.py does the same
at small ones on the emulated device, so that nothing is run for the first time where a GPU is lent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bebr
from tests.conftest import clustered
from tests.index.test_device import same

Short = Callable[[int], AbstractContextManager[None]]
"""So many bytes of the device's memory are left within."""


def awkward_sizes(device: str, metric: str, dim: int, rows: int, queries: list[int], ks: list[int]) -> None:
    x = clustered(rows, dim)
    bz = bebr.untrained(dim, bytes_per_vector=52, metric=metric)
    index = bebr.FlatIndex(bz)
    index.add(x)
    lists = bebr.IVFIndex(bz, nlist=min(rows, 64))
    lists.add(x)
    for count, k in product(queries, ks):
        q = clustered(count, dim, seed=count)
        want, near = index.search(q, k, exact=True), lists.search(q, k, margin="exact")
        same(want, index.to(device).search(q, k))
        same(near, lists.to(device).search(q, k))
        index.to("cpu")
        lists.to("cpu")


def many_rows_and_queries(device: str, dim: int, rows: int, queries: int, nlist: int) -> None:
    x, q = clustered(rows, dim), clustered(queries, dim, seed=1)
    bz = bebr.untrained(dim, bytes_per_vector=dim // 4)
    index = bebr.FlatIndex(bz)
    index.add(x)
    same(index.search(q, 10, exact=True), index.to(device).search(q, 10))
    lists = bebr.IVFIndex(bz, nlist=nlist)
    lists.add(x)
    same(lists.search(q, 10, nprobe=32, margin="exact"), lists.to(device).search(q, 10, nprobe=32))


def threads_search_at_once(device: str, rows: int, calls: int) -> None:
    index = bebr.FlatIndex(bebr.untrained(64, bytes_per_vector=24))
    index.add(clustered(rows, 64))
    q = clustered(64, 64, seed=2)
    want = index.search(q, 10, exact=True)
    index.to(device)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: index.search(q, 10), range(calls)):
            same(want, found)


def what_does_not_fit(device: str, rows: int, dim: int, left: int, short: Short) -> None:
    """Comes window by window where `left` bytes are; is refused where next to none are; the index stays as it was."""
    index = bebr.FlatIndex(bebr.untrained(dim, bytes_per_vector=dim // 2))
    index.add(clustered(rows, dim))
    q = clustered(3, dim, seed=3)
    want = index.search(q, 5, exact=True)
    with short(left), pytest.warns(UserWarning, match="has no room for all rows"):
        same(want, index.to(device).search(q, 5))
    index.to("cpu")
    with short(1 << 20), pytest.raises(bebr.LimitExceeded, match=r"rows need \d+\.\d+ MiB on the device, which has"):
        index.to(device)
    assert index.device == "cpu"
    same(want, index.to(device).search(q, 5))


def codes_equal(device: str, metric: str, dim: int, rows: list[int]) -> None:
    bz = bebr.train(clustered(8 * dim, dim), bytes_per_vector=min(52, dim), metric=metric, seed=0)
    there = bz.to(device)
    for count in rows:
        x = clustered(count, dim, seed=count)
        want, got = bz.encode(x), there.encode(x)
        np.testing.assert_array_equal(got.planes, want.planes)
        np.testing.assert_array_equal(got.factor_rows(), want.factor_rows())


def a_build_is_the_cpus_file(device: str, folder: Path, rows: int, nlist: int) -> None:
    x = clustered(rows, 64)
    bz = bebr.untrained(64, bytes_per_vector=24)
    for where in ("cpu", device):
        bebr.build(x, folder / f"{where}.bebr", binarizer=bz, nlist=nlist, device=where)
    assert (folder / "cpu.bebr").read_bytes() == (folder / f"{device}.bebr").read_bytes()


def lists_in_groups_are_near(extension: Any, lists: int, dim: int, rows: int, **options: int) -> None:
    """Of more lists than one level takes, rows go to the nearest or to one that is hardly farther."""
    centroids, x = clustered(lists, dim), clustered(rows, dim, seed=5)
    found = extension.Centroids(0, centroids, **options).assign(x)
    distances = (x**2).sum(1)[:, None] - 2 * x @ centroids.T + (centroids**2).sum(1)
    assert distances[np.arange(rows), found].mean() < 1.05 * distances.min(1).mean()


def emulated_short(machine: Any) -> Short:
    """:data:`Short` of the emulated device."""

    @contextmanager
    def short(left: int) -> Iterator[None]:
        machine.set_memory((1 << 36) - machine.free_memory() + left)
        try:
            yield
        finally:
            machine.set_memory(1 << 36)

    return short
