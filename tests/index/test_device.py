"""Indexes on a device. Without one, kernels run emulated on the CPU (``device="emulated"``), where the build has that:
answers equal those of the CPU's exact search to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bebr
from bebr import device
from tests.conftest import clustered, model_of

EMULATED = device.found("emulated")
emulated = pytest.mark.skipif(isinstance(EMULATED, str), reason=f"emulated kernels: {EMULATED}")
CUDA = device.found()


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def pair(request: pytest.FixtureRequest) -> tuple[bebr.FlatIndex, bebr.FlatIndex]:
    """The same 500 rows on the CPU and on the emulated device."""
    x = clustered(500, 48)
    bz = model_of(x, bytes_per_vector=20, metric=request.param)
    pair = bebr.FlatIndex(bz), bebr.FlatIndex(bz, device="emulated")
    for index in pair:
        index.add(x, np.arange(500)[::-1] * 3)
    return pair


def same(here: bebr.Hits, there: bebr.Hits) -> None:
    np.testing.assert_array_equal(there.ids, here.ids)
    np.testing.assert_array_equal(there.scores.view(np.uint32), here.scores.view(np.uint32))


@emulated
@pytest.mark.parametrize("query", ["float", "code"])
def test_answers_equal_exact_search(pair: tuple[bebr.FlatIndex, bebr.FlatIndex], query: str) -> None:
    here, there = pair
    q = clustered(20, 48, seed=5)
    allow = np.arange(0, 1500, 6)
    middle = here.search(q, 30, exact=True).scores[:, 15].mean()
    for options in ({}, {"allow": allow}, {"radius": float(middle)}, {"allow": allow, "radius": float(middle)}):
        same(here.search(q, 12, query=query, exact=True, **options), there.search(q, 12, query=query, **options))
    same(here.search(q[:1], 600, exact=True), there.search(q[:1], 600, exact=True))
    same(here.search_ids([0, 30], 5, exact=True), there.search_ids([0, 30], 5))


@emulated
def test_a_search_sees_the_changes_before_it(pair: tuple[bebr.FlatIndex, bebr.FlatIndex]) -> None:
    q = clustered(3, 48, seed=6)
    for index in pair:
        index.search(q, 3)
        index.add(q, [5000, 5001, 5002])
    here, there = pair
    assert (there.search(q, 1).ids[:, 0] == [5000, 5001, 5002]).all()
    for index in pair:
        assert index.remove([5000, 5001, 5002]) == 3
    same(here.search(q, 5, exact=True), there.search(q, 5))


@emulated
def test_exact_scores_come_from_kept_vectors() -> None:
    x = clustered(300, 32)
    bz = model_of(x, bytes_per_vector=12)
    here, there = bebr.FlatIndex(bz, rescore="float16"), bebr.FlatIndex(bz, rescore="float16", device="emulated")
    for index in (here, there):
        index.add(x)
    same(here.search(x[:5], 4, exact=True), there.search(x[:5], 4))


@emulated
def test_what_a_device_refuses(pair: tuple[bebr.FlatIndex, bebr.FlatIndex]) -> None:
    here, there = pair
    assert (here.device, there.device) == ("cpu", "emulated")
    q = clustered(1, 48)
    with pytest.raises(ValueError, match="oversampling is 4 on 'emulated': want None"):
        there.search(q, 3, oversampling=4)
    with pytest.raises(ValueError, match="search_range runs on the CPU alone"):
        there.search_range(q, 0.5)
    with pytest.raises(ValueError, match="k is 0"):
        there.search(q, 0)
    with pytest.raises(bebr.DeviceUnavailable, match="there are 1 devices here, numbered from 0"):
        bebr.FlatIndex(here.binarizer, device="emulated:1")


@emulated
def test_a_file_opens_on_a_device(pair: tuple[bebr.FlatIndex, bebr.FlatIndex], tmp_path: Path) -> None:
    here, there = pair
    there.save(tmp_path / "flat.bebr")
    for mmap in (True, False):
        opened = bebr.open_index(tmp_path / "flat.bebr", mmap, device="emulated")
        opened.remove([0, 3])
        allow = np.arange(6, 1500, 3)
        q = clustered(4, 48, seed=7)
        same(here.search(q, 9, exact=True, allow=allow), opened.search(q, 9))
    lists = bebr.IVFIndex(here.binarizer, nlist=2)
    lists.add(clustered(500, 48))
    lists.save(tmp_path / "ivf.bebr")
    with pytest.raises(ValueError, match="is of kind 'ivf', which searches on the CPU alone"):
        bebr.open_index(tmp_path / "ivf.bebr", device="emulated")


@emulated
def test_an_empty_index_finds_nothing(pair: tuple[bebr.FlatIndex, bebr.FlatIndex]) -> None:
    empty = bebr.FlatIndex(pair[0].binarizer, device="emulated")
    same(bebr.FlatIndex(pair[0].binarizer).search(clustered(2, 48), 3, exact=True), empty.search(clustered(2, 48), 3))


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CUDA", None, "cpu:0"])
def test_a_name_that_is_no_device(name: object) -> None:
    bz = bebr.untrained(16, bytes_per_vector=4)
    with pytest.raises(ValueError, match=r"want 'cpu', 'cuda' or 'cuda:N'"):
        bebr.FlatIndex(bz, device=name)


@pytest.mark.skipif(isinstance(CUDA, list), reason="there is a CUDA device")
def test_without_a_device_the_reason_is_said() -> None:
    assert CUDA in ("not in this build", "no driver", "no device") or "too old" in CUDA
    assert bebr.info()["cuda"] == CUDA
    with pytest.raises(bebr.DeviceUnavailable) as raised:
        bebr.FlatIndex(bebr.untrained(16, bytes_per_vector=4), device="cuda")
    assert str(raised.value) == f"device='cuda': {CUDA}. Use device='cpu', or see docs/gpu.md"


def test_import_loads_no_extension_of_a_device() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; import bebr; print([m for m in sys.modules if 'cuda' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
