"""Where torch trains."""

from __future__ import annotations

import copy

import torch
from torch import nn

from bebr.errors import DeviceUnavailable


def torch_device(name: str) -> torch.device:
    """``"cpu"``, ``"cuda"`` or ``"cuda:1"`` as torch's. ``ValueError`` for what is none,
    :class:`DeviceUnavailable` where it is not here."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as e:
        raise ValueError(f"device is {name!r}: want 'cpu' or 'cuda'") from e
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceUnavailable(f"device={name!r}: torch finds no CUDA device here")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise DeviceUnavailable(f"device={name!r}: torch finds {count} CUDA devices here, numbered from 0")
    return device


def on_cpu(module: nn.Module) -> nn.Module:
    """A module that lies there: itself, or a copy."""
    return module if device_of(module).type == "cpu" else copy.deepcopy(module).cpu()


def device_of(module: nn.Module) -> torch.device:
    """Where its parameters lie."""
    return next(module.parameters()).device
