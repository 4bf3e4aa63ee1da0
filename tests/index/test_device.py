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
from tests.binarizer.test_on_device import Shown
from tests.conftest import clustered

EMULATED = device.found("emulated")
emulated = pytest.mark.skipif(isinstance(EMULATED, str), reason=f"emulated kernels: {EMULATED}")
CUDA = device.found()


ROWS = 400


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def bz(request: pytest.FixtureRequest) -> bebr.Binarizer:
    return bebr.untrained(32, bytes_per_vector=12, metric=request.param)


Flats = tuple[bebr.FlatIndex, bebr.FlatIndex]
Lists = tuple[bebr.IVFIndex, bebr.IVFIndex]


@pytest.fixture(scope="module")
def flats(bz: bebr.Binarizer) -> Flats:
    """The same rows on the CPU and on the emulated device."""
    pair = bebr.FlatIndex(bz), bebr.FlatIndex(bz, device="emulated")
    for index in pair:
        index.add(clustered(ROWS, 32), np.arange(ROWS)[::-1] * 3)
    return pair


@pytest.fixture(scope="module")
def lists(bz: bebr.Binarizer) -> Lists:
    """The same in 24 lists."""
    pair = bebr.IVFIndex(bz, nlist=24), bebr.IVFIndex(bz, nlist=24, device="emulated")
    for index in pair:
        index.add(clustered(ROWS, 32), np.arange(ROWS)[::-1] * 3)
    return pair


def same(here: bebr.Hits, there: bebr.Hits) -> None:
    np.testing.assert_array_equal(there.ids, here.ids)
    np.testing.assert_array_equal(there.scores.view(np.uint32), here.scores.view(np.uint32))


@emulated
def test_answers_equal_exact_search(flats: Flats) -> None:
    here, there = flats
    q = clustered(7, 32, seed=5)
    allow = np.arange(0, 3 * ROWS, 6)
    middle = float(here.search(q, 30, exact=True).scores[:, 15].mean())
    for options in ({}, {"allow": allow}, {"radius": middle}, {"allow": allow, "radius": middle}, {"query": "code"}):
        same(here.search(q, 12, exact=True, **options), there.search(q, 12, **options))
    same(here.search(q[:1], 600, exact=True), there.search(q[:1], 600, exact=True))
    same(here.search_ids([0, 30], 5, exact=True), there.search_ids([0, 30], 5))


@emulated
def test_answers_equal_those_of_the_same_lists(lists: Lists) -> None:
    here, there = lists
    q = clustered(40, 32, seed=5)
    near = here.search(q[:1], 60, nprobe=24).ids[0]
    middle = float(here.search(q, 30, nprobe=24).scores[:, 15].mean())
    for k, options in (
        (10, {}),
        (10, {"nprobe": 3}),
        (90, {"nprobe": 1}),  # more lists are looked at until they hold 90 rows
        (10, {"nprobe": 2, "radius": middle}),
        (10, {"nprobe": 2, "query": "code"}),
        (10, {"nprobe": 2, "allow": np.arange(0, 3 * ROWS, 6)}),
        (10, {"nprobe": 1, "allow": near}),  # these lie together: few queries are near them
        (10, {"nprobe": 1, "allow": near[:9]}),  # fewer than k: each is looked at
        (1, {"nprobe": 1, "allow": near[:2]}),  # so few that the CPU searches a copy of them
        (10, {"allow": [-5, 1]}),
    ):
        same(here.search(q, k, margin="exact", **options), there.search(q, k, **options))
    same(here.search(q[0], 5, margin="exact"), there.search(q[0], 5, margin="exact"))
    same(here.search_ids([0, 30], 5, margin="exact"), there.search_ids([0, 30], 5))


@emulated
def test_many_queries_by_wgmma(bz: bebr.Binarizer) -> None:
    """What devices of compute capability 9.0 run for more than 128 queries (csrc/cuda/scan_sm90.cu)."""
    import bebr._emulated as machine

    x, q = clustered(150, 32), clustered(130, 32, seed=5)
    machine.set_wgmma(True)
    try:
        here, there = bebr.FlatIndex(bz), bebr.FlatIndex(bz, device="emulated")
        for index in (here, there):
            index.add(x)
        before = machine.products_by_wgmma()
        same(here.search(q, 5, exact=True), there.search(q, 5))
        assert machine.products_by_wgmma() > before
    finally:
        machine.set_wgmma(False)


@emulated
def test_queries_may_lie_on_the_device(flats: Flats, lists: Lists) -> None:
    import bebr._emulated as machine

    q = clustered(4, 32, seed=9)
    shown = Shown(machine, q)
    for here, there in (flats, lists):
        found = there.search(shown, 5)
        same(there.search(q, 5), bebr.Hits(np.asarray(found.scores), np.asarray(found.ids)))
        with pytest.raises(ValueError, match="queries are on a CUDA device, and this index searches on the CPU"):
            here.search(shown, 5)
        with pytest.raises(ValueError, match=r"queries has shape \(4, 31\): want \(n, 32\)"):
            there.search(Shown(machine, q[:, :31]), 5)


@emulated
def test_a_search_sees_the_changes_before_it(flats: Flats, lists: Lists) -> None:
    q = clustered(3, 32, seed=6)
    for here, there in (flats, lists):
        for index in (here, there):
            index.search(q, 3)
            index.add(q, [5000, 5001, 5002])
        assert (there.search(q, 1).ids[:, 0] == [5000, 5001, 5002]).all()
        for index in (here, there):
            assert index.remove([5000, 5001, 5002]) == 3
        exact = {"exact": True} if here is flats[0] else {"margin": "exact"}
        same(here.search(q, 5, **exact), there.search(q, 5))


@emulated
def test_exact_scores_come_from_kept_vectors() -> None:
    x = clustered(100, 16)
    bz = bebr.untrained(16, bytes_per_vector=8)
    here, there = bebr.FlatIndex(bz, rescore="float16"), bebr.FlatIndex(bz, rescore="float16", device="emulated")
    for index in (here, there):
        index.add(x)
    same(here.search(x[:5], 4, exact=True), there.search(x[:5], 4))


@emulated
def test_what_a_device_refuses(flats: Flats, lists: Lists) -> None:
    here, there = flats
    assert (here.device, there.device) == ("cpu", "emulated")
    q = clustered(1, 32)
    with pytest.raises(ValueError, match="oversampling is 4 on 'emulated': want None"):
        there.search(q, 3, oversampling=4)
    with pytest.raises(ValueError, match=r"margin is 2.0 on 'emulated': want None or 'exact'"):
        lists[1].search(q, 3, margin=2.0)
    with pytest.raises(ValueError, match="nprobe is 25"):
        lists[1].search(q, 3, nprobe=25)
    for refused in (lambda: there.search_range(q, 0.5), lambda: lists[1].search_range(q, 0.5)):
        with pytest.raises(ValueError, match="search_range runs on the CPU alone"):
            refused()
    with pytest.raises(ValueError, match="calibrate runs on the CPU alone"):
        lists[1].calibrate(q)
    with pytest.raises(ValueError, match="k is 0"):
        there.search(q, 0)
    with pytest.raises(bebr.DeviceUnavailable, match="there are 2 devices here, numbered from 0"):
        bebr.FlatIndex(here.binarizer, device="emulated:2")


@emulated
def test_an_index_moves_and_what_does_not_fit_stays_where_it_was(flats: Flats, lists: Lists) -> None:
    import bebr._emulated as machine

    q = clustered(2, 32, seed=8)
    for here, _ in (flats, lists):
        exact = {"exact": True} if here is flats[0] else {"margin": "exact"}
        want = here.search(q, 5, **exact)
        assert here.to("emulated") is here and here.device == "emulated"
        same(want, here.search(q, 5))
        assert here.to("cpu").device == "cpu"
        same(want, here.search(q, 5, **exact))
        machine.set_memory(1 << 20)
        try:
            with pytest.raises(
                bebr.LimitExceeded, match=r"index's rows need 1\.\d+ MiB on the device, which has [01]\.\d+ MiB left"
            ):
                here.to("emulated")
        finally:
            machine.set_memory(1 << 36)
        assert here.device == "cpu"
        same(want, here.search(q, 5, **exact))
    here, there = flats
    there.add(q, [7000, 7001])  # the next search copies the rows anew
    machine.set_memory(1 << 20)
    try:
        with pytest.raises(bebr.LimitExceeded):
            there.search(q, 1)
    finally:
        machine.set_memory(1 << 36)
    assert there.search(q, 1).ids[:, 0].tolist() == [7000, 7001]
    there.remove([7000, 7001])


@emulated
def test_a_file_opens_on_a_device(flats: Flats, lists: Lists, tmp_path: Path) -> None:
    q, allow = clustered(4, 32, seed=7), np.arange(6, 3 * ROWS, 3)
    for here, there in (flats, lists):
        there.save(tmp_path / "index.bebr")
        for mmap in (True, False):
            opened = bebr.open_index(tmp_path / "index.bebr", mmap, device="emulated")
            opened.remove([0, 3])
            if here is flats[0]:
                same(here.search(q, 9, exact=True, allow=allow), opened.search(q, 9))
            else:
                same(here.search(q, 9, nprobe=24, margin="exact", allow=allow), opened.search(q, 9, nprobe=24))
    graph = bebr.GraphIndex(flats[0].binarizer)
    graph.add(clustered(20, 32))
    graph.save(tmp_path / "graph.bebr")
    with pytest.raises(ValueError, match="is of kind 'graph', which searches on the CPU alone"):
        bebr.open_index(tmp_path / "graph.bebr", device="emulated")


@emulated
def test_an_empty_index_finds_nothing(bz: bebr.Binarizer) -> None:
    q = clustered(2, 32)
    for empty in (bebr.FlatIndex(bz, device="emulated"), bebr.IVFIndex(bz, nlist=2, device="emulated")):
        same(bebr.FlatIndex(bz).search(q, 3, exact=True), empty.search(q, 3))
    empty.train(clustered(50, 32))
    same(bebr.FlatIndex(bz).search(q, 3, exact=True), empty.search(q, 3))


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
