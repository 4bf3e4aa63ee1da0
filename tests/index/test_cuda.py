"""On a GPU: answers equal to the bit, at sizes that emulated kernels would take hours for. ``pytest -m cuda`` runs
these alone, and ends with status 3 where there is no device."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bebr
from tests.conftest import clustered
from tests.index import on_a_gpu
from tests.index.test_device import same

pytestmark = pytest.mark.cuda


@pytest.fixture
def torch() -> Any:
    found = pytest.importorskip("torch")
    if not found.cuda.is_available():
        pytest.skip("torch sees no device")
    return found


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("rows", [1, 15, 255, 257, 4097, 100_003])
def test_awkward_sizes(metric: str, rows: int) -> None:
    on_a_gpu.awkward_sizes("cuda", metric, 100, rows, [1, 8, 9, 33, 129], [1, 10, 1000])


def test_a_million_rows_and_a_thousand_queries() -> None:
    on_a_gpu.many_rows_and_queries("cuda", 384, 1_000_000, 1000, 2048)


def test_threads_search_at_once() -> None:
    on_a_gpu.threads_search_at_once("cuda", 50_000, 32)


def test_queries_of_several_streams_at_once(torch: Any) -> None:
    """Each thread has a stream of its own, on which its queries come after work that takes a while."""
    bz = bebr.untrained(64, bytes_per_vector=24)
    indexes = [bebr.FlatIndex(bz, device="cuda"), bebr.IVFIndex(bz, nlist=64, device="cuda")]
    for index in indexes:
        index.add(clustered(20_000, 64))

    def ask(number: int) -> None:
        index, q = indexes[number % 2], clustered(33, 64, seed=number)
        want = index.search(q, 10)
        with torch.cuda.stream(torch.cuda.Stream()):
            work = torch.ones((4096, 4096), device="cuda")
            for _ in range(20):
                work = work @ work * 0
            got = index.search(torch.from_numpy(q).cuda() + work[0, 0], 10)
            scores, ids = (torch.from_dlpack(array).cpu().numpy() for array in (got.scores, got.ids))
        same(want, bebr.Hits(scores, ids))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(16)))


def test_processes_search_at_once() -> None:
    """Each has a context of its own on the device."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(on_a_gpu.threads_search_at_once, "cuda", 20_000, 8) for _ in range(2)]:
            done.result(300)


def test_what_does_not_fit(torch: Any) -> None:
    @contextmanager
    def short(left: int) -> Iterator[None]:
        held = torch.empty(torch.cuda.mem_get_info()[0] - left, dtype=torch.uint8, device="cuda")
        try:
            yield
        finally:
            del held
            torch.cuda.empty_cache()

    on_a_gpu.what_does_not_fit("cuda", 200_000, 1024, 64 << 20, short)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("dim", [8, 100, 384, 1000])
def test_codes_equal_the_cpus(metric: str, dim: int) -> None:
    on_a_gpu.codes_equal("cuda", metric, dim, [1, 127, 129, 40_000])


def test_tensors_on_the_device_are_encoded_where_they_lie(torch: Any) -> None:
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


def test_answers_are_torchs_without_a_copy(torch: Any) -> None:
    x, q = clustered(20_000, 64), clustered(50, 64, seed=4)
    index = bebr.FlatIndex(bebr.untrained(64, bytes_per_vector=24, metric="l2"), device="cuda")
    index.add(x)
    want, got = index.search(q, 10), index.search(torch.from_numpy(q).cuda(), 10)
    ids, scores = torch.from_dlpack(got.ids), torch.as_tensor(got.scores, device="cuda")
    for tensor, array in ((ids, got.ids), (scores, got.scores)):
        assert tensor.data_ptr() == array.__cuda_array_interface__["data"][0]
    del index, got, array
    with torch.cuda.stream(torch.cuda.Stream()):  # ready on any
        same(want, bebr.Hits((scores + 0).cpu().numpy(), (ids + 0).cpu().numpy()))


def test_cupys_arrays_come_in_and_go_out() -> None:
    cupy = pytest.importorskip("cupy")
    index, bz, q, want = _small()
    got = index.search(cupy.asarray(q), 10)
    same(want, bebr.Hits(cupy.asarray(got.scores).get(), cupy.asarray(got.ids).get()))
    np.testing.assert_array_equal(bz.to("cuda").encode(cupy.asarray(q)).planes, bz.encode(q).planes)


def test_jaxs_arrays_come_in_and_go_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax = pytest.importorskip("jax")
    try:
        place = jax.devices("cuda")[0]
    except RuntimeError:
        pytest.skip("jax sees no device")
    index, bz, q, want = _small()
    there = jax.device_put(q, place)
    got = index.search(there, 10)
    np.testing.assert_array_equal(np.asarray(jax.dlpack.from_dlpack(got.scores)), want.scores)
    np.testing.assert_array_equal(np.asarray(got.ids), want.ids)  # JAX has int64 only where it is told to
    np.testing.assert_array_equal(bz.to("cuda").encode(there).planes, bz.encode(q).planes)


def _small() -> tuple[bebr.FlatIndex, bebr.Binarizer, np.ndarray, bebr.Hits]:
    """An index on the device, its model, queries, and what it finds for them."""
    bz, q = bebr.untrained(64, bytes_per_vector=24), clustered(50, 64, seed=4)
    index = bebr.FlatIndex(bz, device="cuda")
    index.add(clustered(20_000, 64))
    return index, bz, q, index.search(q, 10)


def test_several_devices_find_what_one_finds() -> None:
    devices = bebr.info()["cuda"]
    if len(devices) < 2:
        pytest.skip("one CUDA device: want two")
    index = bebr.FlatIndex(bebr.untrained(64, bytes_per_vector=24))
    index.add(clustered(50_003, 64))
    q = clustered(70, 64, seed=4)
    want = index.search(q, 10, exact=True)
    same(want, index.to([f"cuda:{i}" for i in range(len(devices))]).search(q, 10))


def test_lists_in_groups_are_near() -> None:
    import bebr._cuda as extension

    on_a_gpu.lists_in_groups_are_near(extension, 20_000, 64, 3000)


def test_a_build_on_the_device_is_the_cpus_file(tmp_path: Path) -> None:
    on_a_gpu.a_build_is_the_cpus_file("cuda", tmp_path, 100_000, 512)
