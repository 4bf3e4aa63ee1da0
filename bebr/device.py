"""Where an index lives: ``"cpu"``, ``"cuda"`` (the first device), ``"cuda:1"``. The extension of a device is loaded
when one is first asked for, never by ``import bebr``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from bebr.errors import DeviceUnavailable

# "emulated" is for tests: kernels run on the CPU, some thousand times slower than the engine's own.
_EXTENSIONS = {"cuda": "bebr._cuda", "emulated": "bebr._emulated"}
Device = str | Sequence[str]
"""``"cuda:1"``, or several that share the rows of an index: ``["cuda:0", "cuda:1"]``."""

_NAME = re.compile(r"(cuda|emulated)(?::(\d{1,4}))?")


def found(kind: str = "cuda") -> list[str] | str:
    """What each device is, such as ``"NVIDIA H100 80GB HBM3, sm_90 with wgmma, 79 GiB"``; where there is none, why."""
    try:
        devices, why = importlib.import_module(_EXTENSIONS[kind]).status()
    except ModuleNotFoundError:
        return "not in this build"
    except ImportError as error:
        return f"cannot be loaded ({error})"
    return devices or str(why)


# Devices of DLPack's tensors that are CUDA's: memory of its own, and managed memory.
_DLPACK_CUDA = (2, 13)


def on_a_device(x: object) -> bool:
    """Whether an array of another library says that it lies in the memory of a CUDA device."""
    if isinstance(x, np.ndarray):
        return False
    if hasattr(x, "__cuda_array_interface__"):
        return True
    where = getattr(x, "__dlpack_device__", None)
    return where is not None and int(where()[0]) in _DLPACK_CUDA


def parsed(device: str) -> tuple[str, int]:
    """Kind and number of a device other than the CPU, there or not. ``ValueError`` for a name that is none."""
    name = _NAME.fullmatch(device) if isinstance(device, str) else None
    if name is None:
        raise ValueError(f"device is {device!r}: want 'cpu', 'cuda' or 'cuda:N'")
    return name[1], int(name[2] or 0)


def extension_of(device: str) -> tuple[ModuleType, int]:
    """The extension for a device other than the CPU, and the device's number there. ``ValueError`` for a name that is
    none; :class:`DeviceUnavailable` says why it cannot be used here."""
    kind, number = parsed(device)
    devices = found(kind)
    if isinstance(devices, list) and number >= len(devices):
        devices = f"there are {len(devices)} devices here, numbered from 0"
    if isinstance(devices, str):
        raise DeviceUnavailable(f"device={device!r}: {devices}. Use device='cpu', or see docs/gpu.md")
    return importlib.import_module(_EXTENSIONS[kind]), number


def places_of(device: Device) -> list[tuple[ModuleType, int]]:
    """:func:`extension_of` each of the devices. ``ValueError`` where one is named twice, the CPU is among several, or
    there is none."""
    names = [device] if isinstance(device, str) or not isinstance(device, Sequence) else list(device)
    if len(names) != 1 and (not names or "cpu" in names):
        raise ValueError(f"device is {device!r}: want one device, or several that are not the CPU")
    places = [extension_of(name) for name in names]
    if len({(extension.__name__, number) for extension, number in places}) < len(places):
        raise ValueError(f"device is {device!r}: want each device once")
    return places
