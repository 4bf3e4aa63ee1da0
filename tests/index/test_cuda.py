"""On a GPU: answers equal to the bit, at sizes that emulated kernels would take hours for. ``pytest -m cuda`` runs
these alone, and ends with status 3 where there is no device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import bebr
from tests.conftest import clustered
from tests.index.test_device import same

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("rows", [1, 15, 255, 257, 4097, 100_003])
def test_awkward_sizes(metric: str, rows: int) -> None:
    x = clustered(rows, 100)
    bz = bebr.train(clustered(3000, 100), bytes_per_vector=52, metric=metric)
    index = bebr.FlatIndex(bz)
    index.add(x)
    lists = bebr.IVFIndex(bz, nlist=min(rows, 64))
    lists.add(x)
    for queries in (1, 8, 9, 33, 129):
        q = clustered(queries, 100, seed=queries)
        for k in (1, 10, 1000):
            want, near = index.search(q, k, exact=True), lists.search(q, k, margin="exact")
            same(want, index.to("cuda").search(q, k))
            same(near, lists.to("cuda").search(q, k))
            index.to("cpu")
            lists.to("cpu")


def test_a_million_rows_and_a_thousand_queries() -> None:
    x, q = clustered(1_000_000, 384), clustered(1000, 384, seed=1)
    bz = bebr.train(x[:50_000], bytes_per_vector=100)
    index = bebr.FlatIndex(bz)
    index.add(x)
    same(index.search(q, 10, exact=True), index.to("cuda").search(q, 10))
    lists = bebr.IVFIndex(bz, nlist=2048)
    lists.add(x)
    same(lists.search(q, 10, nprobe=32, margin="exact"), lists.to("cuda").search(q, 10, nprobe=32))


def test_threads_search_at_once() -> None:
    index = bebr.FlatIndex(bebr.train(clustered(3000, 64), bytes_per_vector=24))
    index.add(clustered(50_000, 64))
    q = clustered(64, 64, seed=2)
    want = index.search(q, 10, exact=True)
    index.to("cuda")
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: index.search(q, 10), range(32)):
            same(want, found)


def test_what_does_not_fit_leaves_the_index_as_it_was() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no device, so memory cannot be filled up")
    index = bebr.FlatIndex(bebr.untrained(1024, bytes_per_vector=512))
    index.add(clustered(200_000, 1024))
    q = clustered(3, 1024, seed=3)
    want = index.search(q, 5, exact=True)
    left = torch.cuda.mem_get_info()[0]
    held = torch.empty(left - (64 << 20), dtype=torch.uint8, device="cuda")
    with pytest.raises(bebr.LimitExceeded, match=r"rows need 1[0-9][0-9]\.[0-9]+ MiB on the device, which has"):
        index.to("cuda")
    assert index.device == "cpu"
    del held
    torch.cuda.empty_cache()
    same(want, index.to("cuda").search(q, 5))


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("dim", [8, 100, 384, 1000])
def test_codes_equal_the_cpus(metric: str, dim: int) -> None:
    bz = bebr.train(clustered(3000, dim), bytes_per_vector=52, metric=metric)
    for rows in (1, 127, 129, 40_000):
        x = clustered(rows, dim, seed=rows)
        here, there = bz.encode(x), bz.to("cuda").encode(x)
        np.testing.assert_array_equal(there.planes, here.planes)
        np.testing.assert_array_equal(there.factor_rows(), here.factor_rows())


def test_tensors_on_the_device_are_encoded_where_they_lie() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no device")
    x = clustered(5000, 384)
    bz = bebr.train(x[:3000], bytes_per_vector=52)
    there, want = bz.to("cuda"), bz.encode(x)
    wide = torch.zeros((5000, 400), device="cuda")
    wide[:, :384] = torch.from_numpy(x).cuda()
    with torch.cuda.stream(torch.cuda.Stream()):  # what is on it still is waited for
        slow = wide[:, :384] + 0
        np.testing.assert_array_equal(there.encode(slow).planes, want.planes)
    np.testing.assert_array_equal(there.encode(wide[:, :384]).planes, want.planes)
    with pytest.raises(ValueError, match="want float32 or float16"):
        there.encode(slow.double())


def test_a_build_on_the_device_is_the_cpus_file(tmp_path: Path) -> None:
    x = clustered(100_000, 64)
    bz = bebr.train(x[:3000], bytes_per_vector=24)
    for where in ("cpu", "cuda"):
        bebr.build(x, tmp_path / f"{where}.bebr", binarizer=bz, nlist=512, device=where)
    assert (tmp_path / "cpu.bebr").read_bytes() == (tmp_path / "cuda.bebr").read_bytes()
