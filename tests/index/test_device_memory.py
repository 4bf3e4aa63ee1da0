"""Rows that one device has no room for: brought to it window by window, or divided among several. Emulated, where the
build has that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bebr
from tests.binarizer.test_on_device import Shown
from tests.conftest import clustered
from tests.index.test_device import emulated, same

pytestmark = emulated
DIM = 128


@pytest.fixture(scope="module")
def machine() -> Any:
    return pytest.importorskip("bebr._emulated")


@pytest.fixture(scope="module")
def indexes() -> tuple[bebr.FlatIndex, bebr.IVFIndex]:
    """3,500 rows of 98 bytes."""
    bz, rng = bebr.untrained(DIM, bytes_per_vector=90), np.random.default_rng(0)
    x = rng.standard_normal((3500, DIM), dtype=np.float32)
    flat, lists = bebr.FlatIndex(bz), bebr.IVFIndex(bz, nlist=9)
    lists.train(x[:60])
    for index in (flat, lists):
        index.add(x, rng.permutation(3500))
    return flat, lists


@contextmanager
def short(machine: Any, left: int, pinned: int = 1 << 36) -> Iterator[None]:
    """Devices with so many bytes left, and the host with so many that may be pinned."""
    machine.set_memory((1 << 36) - machine.free_memory() + left)
    machine.set_pinned(pinned)
    try:
        yield
    finally:
        machine.set_memory(1 << 36)
        machine.set_pinned(1 << 36)


def exact(index: bebr.Index) -> dict[str, Any]:
    """What makes a search on the CPU the device's."""
    return {"exact": True} if index.kind == "flat" else {"margin": "exact"}


def test_rows_that_do_not_fit_come_window_by_window(indexes: tuple[bebr.Index, ...], machine: Any) -> None:
    q, allow = clustered(3, DIM, seed=1), np.arange(0, 3500, 5)
    for index in indexes:
        want = [index.search(q, 20, **exact(index)), index.search(q, 20, **exact(index), allow=allow)]
        with short(machine, (1 << 20) + (220 << 10)):
            with pytest.warns(UserWarning, match="device='emulated' has no room for all rows: they stay in the host's"):
                index.to("emulated")
            up = machine.copied()[0]
            same(want[0], index.search(q, 20))
            assert machine.copied()[0] - up > 3500 * 90 or index.kind == "ivf", "rows are copied anew for each batch"
            same(want[1], index.search(q, 20, allow=allow))
            machine.set_memory(0)
            with pytest.raises(bebr.LimitExceeded, match="need"):
                index.search(q, 20)
        same(want[0], index.search(q, 20))  # nothing is the worse for it
        index.to("cpu")


def test_a_budget_is_kept(indexes: tuple[bebr.Index, ...], machine: Any) -> None:
    """Of two MiB of rows half a one may be there, though there is room for all."""
    q = clustered(3, DIM, seed=1)
    for index in indexes:
        want = index.search(q, 20, **exact(index))
        free = machine.free_memory()
        with pytest.warns(UserWarning, match="has no room for all rows"):
            index.to("emulated", resident="220KiB")
        assert free - machine.free_memory() < 225 << 10
        same(want, index.search(q, 20))
        index.to("emulated", resident=1 << 20)
        assert free - machine.free_memory() > 3500 * 90
        same(want, index.search(q, 20))
        index.to("cpu")
    with pytest.raises(
        bebr.LimitExceeded, match=r"even a piece at a time, .* need 0\.19 MiB .*may have 0\.10 MiB there"
    ):
        indexes[0].to("emulated", resident=100 << 10)
    for wrong, message in (("half", "resident is 'half': want None, 'sign', or bytes as '20GiB'"), (True, "is True")):
        with pytest.raises(ValueError, match=message):
            indexes[0].to("emulated", resident=wrong)
    with pytest.raises(ValueError, match="resident is 'sign' on 'cpu': want None"):
        indexes[0].to("cpu", resident="sign")


def test_sign_planes_there_and_other_planes_here(indexes: tuple[bebr.Index, ...], machine: Any, tmp_path: Path) -> None:
    """What the host keeps never goes up as a whole, and the answer is the exact one."""
    q, allow = clustered(3, DIM, seed=1), np.arange(0, 3500, 5)
    for index in indexes:
        want = [index.search(q, 20, **exact(index)), index.search(q, 20, **exact(index), allow=allow)]
        radius = float(want[0].scores[:, 9].mean())
        near = index.search(q, 20, **exact(index), radius=radius)
        up = machine.copied()[0]
        index.to("emulated", resident="sign")
        assert 3500 * (DIM // 8) < machine.copied()[0] - up < 3700 * (DIM // 8 + 12)  # factors and ids beside it
        same(want[0], index.search(q, 20))
        same(want[1], index.search(q, 20, allow=allow))
        same(near, index.search(q, 20, radius=radius))
        index.save(tmp_path / "index.bebr")
        same(want[0], bebr.open_index(tmp_path / "index.bebr", device="emulated:1", resident="sign").search(q, 20))
        index.to(["emulated:0", "emulated:1"], resident="sign")
        same(want[0], index.search(q, 20))
        index.to("cpu")
        with short(machine, 1 << 20), pytest.raises(bebr.LimitExceeded, match="index's sign planes need"):
            index.to("emulated", resident="sign")
        with short(machine, 1 << 30, pinned=1000), pytest.raises(bebr.LimitExceeded, match="cannot be pinned"):
            index.to("emulated", resident="sign")


def test_what_neither_fits_nor_can_be_brought_is_refused(indexes: tuple[bebr.Index, ...], machine: Any) -> None:
    index = indexes[0]
    both = r"index's rows need 1\.33 MiB on the device, which has 1\.21 MiB left, and 0\.29 MiB of the host's memory"
    for left, pinned, message in (
        ((1 << 20) + (100 << 10), 1 << 36, r"even a piece at a time, .* need 1\.19 MiB .* which has 1\.10 MiB left"),
        ((1 << 20) + (220 << 10), 1 << 16, both + " cannot be pinned"),
    ):
        with short(machine, left, pinned), pytest.raises(bebr.LimitExceeded, match=message):
            index.to("emulated")
        assert index.device == "cpu"


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_several_devices_find_what_one_finds(metric: str, machine: Any) -> None:
    bz, both = bebr.untrained(32, bytes_per_vector=12, metric=metric), ["emulated:0", "emulated:1"]
    x, q = clustered(300, 32), clustered(5, 32, seed=3)
    x[200:] = x[:100]  # equal scores: ties go by id
    allow = np.arange(0, 900, 6)
    for index in (bebr.FlatIndex(bz), bebr.IVFIndex(bz, nlist=11)):
        index.add(x, np.arange(300)[::-1] * 3)
        want = index.search(q, 17, **exact(index))
        middle = float(want.scores[:, 9].mean())
        options = [
            {"k": 17},
            {"k": 400},
            {"k": 3, "allow": allow},
            {"k": 17, "radius": middle},
            {"k": 17, "query": "code"},
        ]
        wants = [index.search(q, **option, **exact(index)) for option in options]
        assert index.to(both) is index and index.device == ("emulated:0", "emulated:1")
        for option, found in zip(options, wants, strict=True):
            same(found, index.search(q, **option))
        there = index.search(Shown(machine, q), 17)  # whose memory is the first device's, which is the one in use
        same(want, bebr.Hits(np.asarray(there.scores), np.asarray(there.ids)))
        assert there.ids.__dlpack_device__() == (2, 0)
        index.add(q, [5000, 5001, 5002, 5003, 5004])
        assert index.search(q, 1).ids[:, 0].tolist() == [5000, 5001, 5002, 5003, 5004]
        index.to("emulated:1")
        assert index.search(q, 1).ids[:, 0].tolist() == [5000, 5001, 5002, 5003, 5004]
    few = bebr.FlatIndex(bz, device=both)  # fewer rows than devices, or none
    assert (few.search(q, 2).ids == -1).all()
    few.add(x[:1], [7])
    assert few.search(q, 2).ids.tolist() == [[7, -1]] * 5


def test_names_of_several_devices(indexes: tuple[bebr.Index, ...]) -> None:
    for device, message in (
        ([], "want one device, or several that are not the CPU"),
        (["cpu", "emulated"], "want one device, or several that are not the CPU"),
        (["emulated", "emulated:0"], "want each device once"),
        (["emulated", "gpu"], "device is 'gpu': want 'cpu', 'cuda' or 'cuda:N'"),
    ):
        with pytest.raises(ValueError, match=message):
            indexes[0].to(device)
    with pytest.raises(bebr.DeviceUnavailable, match="there are 2 devices here"):
        indexes[0].to(["emulated:1", "emulated:2"])


def test_the_engine_says_which_device_is_not_there(machine: Any) -> None:
    with pytest.raises(bebr.DeviceUnavailable, match="there are two emulated devices, numbered from 0"):
        machine.Centroids(5, np.zeros((2, 3), np.float32))
