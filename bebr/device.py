"""Where an index lives: ``"cpu"``, ``"cuda"`` (the first device), ``"cuda:1"``. The extension of a device is loaded
when one is first asked for, never by ``import bebr``."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

from bebr.errors import DeviceUnavailable

# "emulated" is for tests: kernels run on the CPU, some thousand times slower than the engine's own.
_EXTENSIONS = {"cuda": "bebr._cuda", "emulated": "bebr._emulated"}
_NAME = re.compile(r"(cuda|emulated)(?::(\d{1,4}))?")


def found(kind: str = "cuda") -> list[str] | str:
    """What each device is, such as ``"NVIDIA H100 80GB HBM3, sm_90, 79 GiB"``; where there is none, why."""
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
    if hasattr(x, "__cuda_array_interface__"):
        return True
    where = getattr(x, "__dlpack_device__", None)
    return where is not None and int(where()[0]) in _DLPACK_CUDA


def extension_of(device: str) -> tuple[ModuleType, int]:
    """The extension for a device other than the CPU, and the device's number there. ``ValueError`` for a name that is
    none; :class:`DeviceUnavailable` says why it cannot be used here."""
    name = _NAME.fullmatch(device) if isinstance(device, str) else None
    if name is None:
        raise ValueError(f"device is {device!r}: want 'cpu', 'cuda' or 'cuda:N'")
    kind, number = name[1], int(name[2] or 0)
    devices = found(kind)
    if isinstance(devices, list) and number >= len(devices):
        devices = f"there are {len(devices)} devices here, numbered from 0"
    if isinstance(devices, str):
        raise DeviceUnavailable(f"device={device!r}: {devices}. Use device='cpu', or see docs/gpu.md")
    return importlib.import_module(_EXTENSIONS[kind]), number
