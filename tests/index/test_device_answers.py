"""Answers that stay on a device, where other libraries read them: emulated, where the build has that."""

from __future__ import annotations

import ctypes
import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bebr
from tests.binarizer.test_on_device import DLTensor, Shown
from tests.conftest import clustered
from tests.index.test_device import emulated, same

pytestmark = emulated
ROWS = 300


@pytest.fixture(scope="module")
def machine() -> Any:
    return pytest.importorskip("bebr._emulated")


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def index(request: pytest.FixtureRequest) -> bebr.FlatIndex:
    made = bebr.FlatIndex(bebr.untrained(16, bytes_per_vector=6, metric=request.param), device="emulated")
    made.add(3 * clustered(ROWS, 16))
    return made


def memory(address: int, like: Any) -> np.ndarray:
    """What lies there, as an array of the same shape and dtype: the emulated device's memory is the machine's own."""
    size = int(np.prod(like.shape)) * like.dtype.itemsize
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), like.dtype).reshape(like.shape)


class Taken:
    """The tensor of a capsule, which is whoever's takes it from then on."""

    def __init__(self, capsule: Any) -> None:
        get, rename = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_SetName
        get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        rename.argtypes = (ctypes.py_object, ctypes.c_char_p)
        self.address = get(capsule, b"dltensor")
        rename(capsule, b"used_dltensor")
        self.tensor = DLTensor.from_address(self.address)

    def release(self) -> None:
        """By the function behind its owner."""
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.tensor.rest[1])(self.address)


def by_both(array: Any, want: np.ndarray) -> None:
    """The array is what numpy's is, by each protocol."""
    about = array.__cuda_array_interface__
    assert (array.shape, array.dtype, len(array)) == (want.shape, want.dtype, len(want))
    assert (about["shape"], about["typestr"], about["version"]) == (want.shape, want.dtype.str, 3)
    assert about["strides"] is None and about["stream"] is None and about["data"][1] is False
    address = about["data"][0]
    np.testing.assert_array_equal(memory(address, want), want)
    lent = Taken(array.__dlpack__(stream=2))
    tensor = lent.tensor
    assert (tensor.data, tensor.byte_offset, tensor.bits, tensor.lanes) == (address, 0, 8 * want.itemsize, 1)
    assert (tensor.device_type, tensor.device) == array.__dlpack_device__() == (2, 0)
    assert tensor.code == (0 if want.dtype.kind == "i" else 2)
    assert (tensor.shape[:2], tensor.strides[:2]) == (list(want.shape), [want.shape[1], 1])
    lent.release()
    np.testing.assert_array_equal(np.asarray(array), want)
    assert np.asarray(array, np.float64).dtype == np.float64


def test_answers_to_queries_on_the_device_stay_there(index: bebr.FlatIndex, machine: Any) -> None:
    q = clustered(6, 16, seed=4)
    shown = Shown(machine, q)
    middle = float(index.search(q, 40).scores[:, 20].mean())
    for k, options in (
        (5, {}),
        (5, {"query": "code"}),
        (ROWS + 3, {}),  # more than there are
        (60, {"radius": middle}),
        (9, {"allow": np.arange(0, ROWS, 7)}),
        (9, {"allow": []}),
    ):
        start = machine.copied()
        want = index.search(q, k, **options)
        here = machine.copied()
        got = index.search(shown, k, **options)
        there = machine.copied()
        by_both(got.ids, want.ids)
        by_both(got.scores, want.scores)
        same(want, bebr.Hits(np.asarray(got.scores), np.asarray(got.ids)))
        # Queries come to the host to be prepared; answers do not.
        assert there[1] - here[1] - q.nbytes == here[1] - start[1] - 12 * len(q) * min(k, ROWS)


def test_scores_of_another_models_unit(machine: Any) -> None:
    """Calibrated scores are those of numpy, whose products are not fused with sums."""
    bz = bebr.untrained(16, bytes_per_vector=6, metric="l2")
    index = bebr.FlatIndex(bz, device="emulated")
    index.add(clustered(50, 16))
    prepared = replace(bz.prepare(clustered(20, 16, seed=2)), calibration=(0.7, 0.3))
    want, got = index.search_prepared(prepared, 5), index.search_prepared(prepared, 5, there=True)
    same(want, bebr.Hits(np.asarray(got.scores), np.asarray(got.ids)))


def test_an_answer_outlives_its_index(machine: Any) -> None:
    bz = bebr.untrained(16, bytes_per_vector=6)
    q = clustered(3, 16, seed=4)
    gc.collect()
    before = machine.free_memory()
    index = bebr.FlatIndex(bz, device="emulated")
    index.add(clustered(40, 16))
    want, got = index.search(q, 4), index.search(Shown(machine, q), 4)
    del index
    gc.collect()
    by_both(got.ids, want.ids)
    assert before - machine.free_memory() == want.ids.nbytes + want.scores.nbytes
    kept, unused, address = Taken(got.ids.__dlpack__()), got.scores.__dlpack__(), got.ids.__cuda_array_interface__
    del got
    np.testing.assert_array_equal(memory(address["data"][0], want.ids), want.ids)
    assert before - machine.free_memory() == want.ids.nbytes + want.scores.nbytes
    del unused
    assert before - machine.free_memory() == want.ids.nbytes
    kept.release()
    assert machine.free_memory() == before


def test_exact_scores_of_kept_vectors_are_put_there(machine: Any) -> None:
    index = bebr.FlatIndex(bebr.untrained(16, bytes_per_vector=6), rescore="float16", device="emulated")
    index.add(clustered(60, 16))
    q = clustered(3, 16, seed=4)
    want, got = index.search(q, 4), index.search(Shown(machine, q), 4)
    by_both(got.ids, want.ids)
    by_both(got.scores, want.scores)


def test_what_answers_refuse(index: bebr.FlatIndex, machine: Any) -> None:
    ids = index.search(Shown(machine, clustered(2, 16)), 3).ids
    for stream in (None, -1, 1, 2, 0x7F00):
        Taken(ids.__dlpack__(stream=stream, max_version=(1, 1), dl_device=(2, 0), copy=False)).release()
    with pytest.raises(ValueError, match="stream is 0: want None, -1, 1, 2"):
        ids.__dlpack__(stream=0)
    with pytest.raises(BufferError, match=r"dl_device is \(1, 0\): want \(2, 0\), where the array is"):
        ids.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match="copy is True"):
        ids.__dlpack__(copy=True)
    with pytest.raises(ValueError, match="copy is False: what is on a device has to be copied"):
        ids.__array__(copy=False)
    here = bebr.FlatIndex(index.binarizer)
    with pytest.raises(ValueError, match="there is True, and this index searches on the CPU"):
        here.search_prepared(index.binarizer.prepare(clustered(1, 16)), 3, there=True)
