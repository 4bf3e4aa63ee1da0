"""Encoding on a device: emulated, where the build has that, equal to the CPU's to the bit."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bebr
from bebr import device
from bebr.index.kmeans import kmeans
from tests.conftest import clustered

EMULATED = device.found("emulated")
emulated = pytest.mark.skipif(isinstance(EMULATED, str), reason=f"emulated kernels: {EMULATED}")
CUDA = device.found()


def same(here: bebr.Codes, there: bebr.Codes) -> None:
    np.testing.assert_array_equal(there.planes, here.planes)
    assert there.factors.dtype == here.factors.dtype
    np.testing.assert_array_equal(there.factor_rows(), here.factor_rows())


@pytest.fixture(scope="module", params=["cosine", "ip", "l2"])
def bz(request: pytest.FixtureRequest) -> bebr.Binarizer:
    """With a descent that restarts, and factors of the sign plane."""
    return bebr.train(clustered(600, 20), bytes_per_vector=12, metric=request.param, stage_factor=True)


@emulated
def test_codes_equal_the_cpus(bz: bebr.Binarizer) -> None:
    x = clustered(150, 20, seed=3)
    x[7] = 0
    there = bz.to("emulated")
    assert there.device == "emulated" and bz.to("cpu") is bz
    for optimize in (True, False):
        same(bz.encode(x, optimize=optimize), there.encode(x, optimize=optimize))
    same(bz.encode(x[0]), there.encode(x[0]))
    same(bz.encode([]), there.encode([]))
    plain = bebr.untrained(33, bytes_per_vector=5, metric=bz.metric)
    same(plain.encode(clustered(3, 33)), plain.to("emulated").encode(clustered(3, 33)))


class Shown:
    """An array of another library: ``machine.Memory`` that it shows by CUDA's array interface."""

    def __init__(self, machine: Any, array: np.ndarray, **changed: Any) -> None:
        self.memory = machine.Memory(np.ascontiguousarray(array).view(np.uint8).ravel())
        about = {"shape": array.shape, "typestr": array.dtype.str, "data": (self.memory.address, False), "version": 3}
        self.__cuda_array_interface__ = {**about, "strides": None, "stream": None, **changed}


class DLTensor(ctypes.Structure):
    """Of dlpack.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("rest", ctypes.c_void_p * 2),
    ]


class Packed:
    """The same by DLPack: from entry `offset` on."""

    def __init__(
        self, machine: Any, array: np.ndarray, strides: tuple[int, int] | None = None, offset: int = 0
    ) -> None:
        self.memory = machine.Memory(np.ascontiguousarray(array).view(np.uint8).ravel())
        self.shape = (ctypes.c_int64 * 2)((array.size - offset) // array.shape[1], array.shape[1])
        self.strides = None if strides is None else (ctypes.c_int64 * 2)(*strides)
        bits, lies = 8 * array.dtype.itemsize, offset * array.dtype.itemsize
        at = (self.memory.address, 2, 0, 2, 2, bits, 1, self.shape, self.strides, lies)
        self.tensor, self.streams = DLTensor(*at), []

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: int) -> Any:
        self.streams.append(stream)
        make = ctypes.pythonapi.PyCapsule_New
        make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return make(ctypes.addressof(self.tensor), b"dltensor", None)


class Both(Packed):
    """By DLPack, and by an interface that names no stream, as torch's is: that would not be waited for."""

    __cuda_array_interface__ = {"shape": (40, 20), "typestr": "<f4", "data": (0, False), "version": 2}  # noqa: RUF012


@emulated
def test_arrays_on_the_device_are_read_where_they_lie(bz: bebr.Binarizer) -> None:
    import bebr._emulated as machine

    x = clustered(40, 20, seed=4).astype(np.float16).astype(np.float32)
    want, there = bz.encode(x), bz.to("emulated")
    wide = np.full((40, 23), np.nan, np.float32)
    wide[:, :20] = x
    arrays = [
        Shown(machine, x),
        Shown(machine, x.astype(np.float16)),
        Shown(machine, wide, shape=(40, 20), strides=(92, 4)),
        Shown(machine, x, stream=1),
        Shown(machine, x, stream=0x7F00),
        Packed(machine, x),
        Packed(machine, np.vstack([x[:1], x]), offset=20),
        Both(machine, x),
    ]
    waited = len(machine.waited())
    for array in arrays:
        up, down = machine.copied()
        got = there.encode(array)
        after = machine.copied()
        assert after[0] == up, "vectors that were on the device went through the host"
        assert after[1] - down == 40 * (bz.settings.code_bytes + 4 * len(there._decoders) + 4) + 4
        same(want, got)
    assert machine.waited()[waited:] == [0x7F00]
    assert arrays[5].streams == arrays[7].streams == [1]
    same(bz.encode(x[:0]), there.encode(Shown(machine, x[:0], data=(0, False))))


@emulated
def test_what_an_array_on_a_device_has_wrong_is_named() -> None:
    import bebr._emulated as machine

    x = clustered(5, 20)
    there = bebr.untrained(20, bytes_per_vector=6).to("emulated")
    bad = x.copy()
    bad[3, 19] = np.nan
    host = np.ascontiguousarray(x)
    for array, message in (
        (Shown(machine, x.astype(np.float64)), "x has dtype <f8: want float32 or float16"),
        (Shown(machine, x[:, :19]), r"x has shape \(5, 19\): want \(n, 20\)"),
        (Shown(machine, x, shape=(1, 5, 20)), r"x has shape \(1, 5, 20\): want \(n, 20\)"),
        (Shown(machine, x, strides=(4, 20)), r"x has strides of \(1, 5\) entries: want the entries of a row side by"),
        (Shown(machine, x, strides=(-80, 4)), r"x has strides of \(-20, 1\) entries: want the entries of a row"),
        (Shown(machine, x, strides=(82, 4)), r"x has strides of \(82, 4\) bytes: want whole entries"),
        (Shown(machine, x, mask=object()), "x has a mask: want none"),
        (Shown(machine, x, stream=0), "stream 0: want None, 1, 2 or a stream's handle"),
        (Shown(machine, x, typestr=None), "without 'typestr': want one with it"),
        (Shown(machine, x, data=(host.ctypes.data, False)), "x is not in the memory of a device: want device 0"),
        (Shown(machine, x, data=(host.ctypes.data + 2, False)), "x begins at address [0-9]+: want a multiple of 4"),
        (Shown(machine, bad), r"x\[3\] has an entry that is not finite: want finite numbers"),
        (Packed(machine, x.astype(np.float64)), "x has dtype float64: want float32 or float16"),
        (Packed(machine, x, strides=(1, 5)), r"x has strides of \(1, 5\) entries"),
        (bad, r"x\[3, 19\] is nan: want finite numbers"),
        (x[:, :3], r"x has shape \(5, 3\): want \(n, 20\)"),
    ):
        with pytest.raises(ValueError, match=message):
            there.encode(array)


def stack(rng: np.random.Generator, prefix: str, *dims: int) -> dict[str, np.ndarray]:
    """Layers between these numbers of dimensions."""
    shapes = list(zip(dims[1:], dims[:-1], strict=True))
    return {
        f"{prefix}.{i}.{name}": rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(wide))
        for i, (high, wide) in enumerate(shapes)
        for name, shape in (("weight", (high, wide)), ("bias", (high,)))
    }


def decoders(rng: np.random.Generator, dims: int, dim: int) -> dict[str, np.ndarray]:
    return {
        f"{name}.{part}": rng.standard_normal(shape, np.float32)
        for name in ("decoder", "stage")
        for part, shape in (("weight", (dims, dim)), ("bias", (dim,)))
    }


@emulated
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("hidden", [(), (40,), (24, 72)], ids=["linear maps", "one hidden layer", "two"])
def test_the_papers_architecture_encodes_there(metric: str, hidden: tuple[int, ...]) -> None:
    rng, widths, dim = np.random.default_rng(1), [48, 48, 16], 19
    tensors = stack(rng, "encoder", dim, *hidden, 48) | decoders(rng, 48, dim)
    for t in range(2):
        tensors |= stack(rng, f"reconstruct.{t}", 48, *hidden, dim)
        tensors |= stack(rng, f"residual.{t}", dim, *hidden, widths[t + 1])
    config = {"architecture": "recurrent", "widths": widths, "metric": metric, "input_dim": dim, "stage_factor": True}
    bz = bebr.Binarizer.from_tensors(tensors, config)
    x = clustered(140, dim, seed=2)
    x[5] = 0
    same(bz.encode(x), bz.to("emulated").encode(x))
    paper = {name: array for name, array in tensors.items() if name.split(".")[0] not in ("decoder", "stage")}
    coded = bebr.Binarizer.from_tensors(paper, config | {"stage_factor": False})  # scored in code space
    same(coded.encode(x), coded.to("emulated").encode(x))


@emulated
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize(("skip", "inner"), [(0.7, 21), (0.0, 21), (0.0, 12), (0.0, 300)])
def test_an_input_adapter_is_passed_there(metric: str, skip: float, inner: int) -> None:
    rng, dim = np.random.default_rng(3), 21
    tensors = stack(rng, "front", dim, 50, inner) | stack(rng, "encoder", inner, 32) | decoders(rng, 32, inner)
    tensors["refine.gram"] = np.eye(32, dtype=np.float32) + np.float32(0.1)
    config = {"architecture": "linear", "widths": [32, 24], "metric": metric, "input_dim": dim, "stage_factor": True}
    config |= {"front": {"skip": skip}, "refine": {"sweeps": 4, "tries": 2}}
    bz = bebr.Binarizer.from_tensors(tensors, config)
    x = clustered(130, dim, seed=4)
    x[3] = 0
    for optimize in (True, False):
        same(bz.encode(x, optimize=optimize), bz.to("emulated").encode(x, optimize=optimize))


@emulated
def test_lengths_are_those_of_numpy() -> None:
    """They are in the factors of inner products, of 4 bytes here, and in what an input adapter is given."""
    rng = np.random.default_rng(5)
    for dim in (3, 8, 129, 260, 1111, 4096):
        tensors = {"encoder.0.weight": rng.standard_normal((8, dim), np.float32)}
        config = {"architecture": "linear", "widths": [8], "metric": "ip", "input_dim": dim, "factor_bytes": 4}
        bz = bebr.Binarizer.from_tensors(tensors, config)
        x = rng.standard_normal((9, dim), np.float32)
        same(bz.encode(x), bz.to("emulated").encode(x))
        tensors |= {"front.0.weight": rng.standard_normal((4, dim), np.float32)}
        tensors["encoder.0.weight"] = rng.standard_normal((8, 4), np.float32)
        far = bebr.Binarizer.from_tensors(tensors, config | {"metric": "cosine", "front": {"skip": 0.0}})
        x[4] *= np.float32(1e30)  # whose squares no float holds
        same(far.encode(x), far.to("emulated").encode(x))


@emulated
def test_a_build_on_a_device_is_the_cpus_file(tmp_path: Path) -> None:
    x, bz = clustered(700, 16), bebr.untrained(16, bytes_per_vector=6)
    np.testing.assert_array_equal(kmeans(x, 9, 0), kmeans(x, 9, 0, device="emulated"))
    for where in ("cpu", "emulated"):
        bebr.build(x, tmp_path / f"{where}.bebr", binarizer=bz, nlist=9, device=where)
    assert (tmp_path / "cpu.bebr").read_bytes() == (tmp_path / "emulated.bebr").read_bytes()


@emulated
def test_memory_that_is_short_is_said() -> None:
    import bebr._emulated as machine

    there = bebr.untrained(64, bytes_per_vector=24).to("emulated")
    machine.set_memory(1 << 16)
    try:
        with pytest.raises(
            bebr.LimitExceeded, match=r"encoding needs 0\.\d\d MiB on the device, which has 0\.\d\d MiB"
        ):
            there.encode(clustered(200, 64))
    finally:
        machine.set_memory(1 << 36)


@pytest.mark.skipif(isinstance(CUDA, list), reason="there is a CUDA device")
def test_without_a_device_the_reason_is_said(tmp_path: Path) -> None:
    bz = bebr.untrained(16, bytes_per_vector=4)
    said = rf"device='cuda:1': {CUDA}. Use device='cpu', or see docs/gpu.md"
    for ask in (
        lambda: bz.to("cuda:1"),
        lambda: bebr.build(clustered(9, 16), tmp_path / "x.bebr", binarizer=bz, device="cuda:1"),
        lambda: kmeans(clustered(9, 16), 2, 0, device="cuda:1"),
        lambda: bebr.IVFIndex(bz, device="cuda:1"),
        lambda: bebr.FlatIndex(bz).to("cuda:1"),
    ):
        with pytest.raises(bebr.DeviceUnavailable) as raised:
            ask()
        assert str(raised.value) == said
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="want 'cpu', 'cuda' or 'cuda:N'"):
        bz.to("gpu")
