"""Weights on disk: a folder of ``model.safetensors`` and ``config.json``, and strict loading of files that others made.

A state is a dict of name to tensor. Nothing is ever unpickled beyond tensors, and nothing is loaded in part: what is
missing, unexpected or of another shape is refused with its names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bebr.models.files import replacing

__all__ = ["CONFIG", "WEIGHTS", "compare", "digest", "find", "read", "read_config", "save"]

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_NAMES = (WEIGHTS, "pytorch_model.bin")
_SHOWN = 8


def find(weights: str | Path | None, producer: str, wanted: str) -> Path:
    """The weight file that ``weights`` (a file, or a folder that holds one) stands for.

    Raises ValueError where ``weights`` is None or a folder without one, FileNotFoundError where it is not there; both
    say what the ``producer`` wants, in the words of ``wanted``.
    """
    if weights is None:
        raise ValueError(f"weights: got none, but {producer} brings none of its own; wanted {wanted}")
    path = Path(weights).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"weights: {path}: no such file or folder; wanted {wanted}")
    if path.is_file():
        return path
    for name in _NAMES:
        if (path / name).is_file():
            return path / name
    raise ValueError(f"weights: {path}: the folder has no {' or '.join(_NAMES)}; wanted {wanted}")


def read(path: Path, within: str | None = None) -> dict[str, Any]:
    """The tensors of a ``.safetensors`` file, or of a ``.bin``, ``.ckpt``, ``.pt`` or ``.pth`` with a state dict.
    ``.pth.tar`` and ``.pth.tar-50``, which some training code writes, are ``.pth``; none is a tar archive.

    ``within``: such a file may also be what a training run left, with the state dict under this key, beside plain
    values, NumPy's float64 among them, an optimizer's tensors and the run's arguments (argparse.Namespace: values by
    name, nothing that runs).

    Raises ValueError naming the file where it is damaged, or holds pickled objects other than tensors: those can run
    code when loaded, so it is converted to .safetensors by whoever trusts it, not here.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            # Copied, for in the file they begin at any byte, where oneDNN adds up in another order on some processors:
            # a producer that was saved and loaded would give other last digits.
            return {name: tensor.clone() for name, tensor in load_file(path).items()}
        except SafetensorError as error:
            raise ValueError(f"weights: {path}: not a readable safetensors file: {error}") from error
    if path.suffix not in (".bin", ".ckpt", ".pt", ".pth") and not re.search(r"\.(pt|pth)\.tar(-\d+)?$", path.name):
        raise ValueError(f"weights: {path}: got suffix '{path.suffix}', wanted .safetensors, .bin, .ckpt, .pt or .pth")
    import argparse
    import pickle

    import torch

    try:
        with torch.serialization.safe_globals([argparse.Namespace, *_float64()] if within else []):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it pickles {foreign[1]}" if foreign else str(error).strip().split("\n")[0]
        raise ValueError(
            f"weights: {path}: not a state dict of tensors ({reason}); files that hold other objects are not loaded: "
            "convert them to .safetensors where you trust them"
        ) from error
    if within is not None and isinstance(state, Mapping) and isinstance(state.get(within), Mapping):
        state = state[within]
    if not isinstance(state, Mapping) or not all(isinstance(one, torch.Tensor) for one in state.values()):
        raise ValueError(f"weights: {path}: wanted a flat dict of name to tensor")
    return dict(state)


def _float64() -> list[Any]:
    """What a pickled numpy.float64 names: a function that makes one of bytes, under both of its homes, and its type."""
    make = np.float64(0).__reduce__()[0]
    named = [(make, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*named, np.dtype, type(np.dtype(np.float64))]


def compare(
    state: Mapping[str, Any], manifest: Mapping[str, tuple[int, ...]], where: str | Path, ignored: tuple[str, ...] = ()
) -> None:
    """ValueError unless ``state`` has exactly the keys and shapes of ``manifest``; it lists those that differ.

    Keys that start with one of ``ignored`` may be there or not.
    """
    missing = [key for key in manifest if key not in state and not key.startswith(ignored or ("\0",))]
    unexpected = [key for key in state if key not in manifest and not key.startswith(ignored or ("\0",))]
    shaped = [
        f"{key} {list(state[key].shape)} (wanted {list(shape)})"
        for key, shape in manifest.items()
        if key in state and tuple(state[key].shape) != tuple(shape)
    ]
    found = [("missing", missing), ("unexpected", unexpected), ("of another shape", shaped)]
    told = [f"{len(keys)} {what}: {_listed(keys)}" for what, keys in found if keys]
    if told:
        raise ValueError(f"weights: {where}: {'; '.join(told)}")


def digest(state: Mapping[str, Any]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors: the same weights have it on every machine."""
    import torch

    found = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        found.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def save(folder: str | Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Write ``model.safetensors`` and ``config.json`` into ``folder``, made if it is not there; each whole or not."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as temporary:
        # clones: tensors that share memory (tied weights) are refused by the format
        copied = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in state.items()}
        save_file(copied, temporary, {"format": "pt"})  # which transformers asks for, older ones in any case
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(dict(config), indent=1, sort_keys=True) + "\n")


def read_config(folder: Path, producer: str) -> dict[str, Any]:
    """``config.json`` of ``folder``. FileNotFoundError; ValueError where it is no object or is of another producer."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path}: no such file; wanted a folder as {producer}'s save() writes it")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"weights: {path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"weights: {path}: got {type(config).__name__}, wanted an object")
    if config.get("producer", producer) != producer:
        raise ValueError(f"weights: {path}: is of the producer {config['producer']!r}, wanted {producer!r}")
    return config


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:_SHOWN]) + (f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")
