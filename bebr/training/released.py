"""Networks published with the paper: their checkpoints as binarizers. numpy only; a ``.pt`` file needs torch.

Names in such a checkpoint: ``W`` (d -> m), then for each refinement t ``B{t}`` (m -> d, the reconstruction) and
``R{t}`` (d -> m, of the remainder): in the words of docs/method.md W, R_t and W_t+1. Below each name

    .weight .bias                                    without a hidden layer
    .0 .1 .3                                         Linear, BatchNorm, (ReLU without weights), Linear with one
    .{i}.fc .{i}.bn for i < k, then .{k}             with k > 1
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile
from bebr.extras import needed

BATCH_NORM_EPS = 1e-5  # torch's default, which the published networks keep

Weights = Mapping[str, NDArray[Any]]
Affine = tuple[NDArray[np.float64], NDArray[np.float64]]  # weight [out, in], bias [out]


def load_released(source: str | Path | Mapping[str, ArrayLike]) -> Binarizer:
    """Load a network published with the BEBR paper as a binarizer; search its codes with ``query="code"``.

    It has no decoder, so scores are computed in code space, with the factor 1/||v||.

    source: the state dict (name -> array), or the path of a ``.safetensors``, ``.pt`` or ``.pth`` file that holds it,
        directly or under the key ``model``, as the public training script saves it.
    Raises ``ValueError`` naming a missing or ill-shaped tensor, ``FileNotFoundError``, ``CorruptFile``.
    """
    weights = _read(Path(source)) if isinstance(source, str | Path) else source
    # Checkpoints of several GPUs put "module." before every name.
    state = {name.removeprefix("module."): np.asarray(value) for name, value in weights.items()}
    steps = 1 + max((int(match[1]) for name in state if (match := re.match(r"[BR](\d+)\.", name))), default=-1)
    stacks = {"encoder": _stack(state, "W")}
    for t in range(steps):
        stacks[f"reconstruct.{t}"] = _stack(state, f"B{t}")
        stacks[f"residual.{t}"] = _stack(state, f"R{t}")
    tensors = {
        f"{name}.{i}.{part}": value.astype(np.float32)
        for name, layers in stacks.items()
        for i, layer in enumerate(layers)
        for part, value in zip(("weight", "bias"), layer, strict=True)
    }
    dims, inputs = len(stacks["encoder"][-1][0]), stacks["encoder"][0][0].shape[1]
    config = {
        "architecture": "recurrent",
        "widths": [dims] * (steps + 1),
        "metric": "cosine",
        "input_dim": inputs,
        "factor": "mul",
    }
    return Binarizer.from_tensors(tensors, config)


def _stack(state: Weights, name: str) -> list[Affine]:
    """The affine layers below ``name``, BatchNorm folded in."""
    if f"{name}.weight" in state:
        return [_linear(state, name)]
    if f"{name}.0.fc.weight" in state:
        blocks = 0
        layers = []
        while f"{name}.{blocks}.fc.weight" in state:
            layers.append(_folded(state, _linear(state, f"{name}.{blocks}.fc"), f"{name}.{blocks}.bn"))
            blocks += 1
        return [*layers, _linear(state, f"{name}.{blocks}")]
    return [_folded(state, _linear(state, f"{name}.0"), f"{name}.1"), _linear(state, f"{name}.3")]


def _linear(state: Weights, name: str) -> Affine:
    weight = _tensor(state, f"{name}.weight", 2)
    bias = _tensor(state, f"{name}.bias", 1) if f"{name}.bias" in state else np.zeros(len(weight))
    if len(bias) != len(weight):
        raise ValueError(f"{name}.bias has shape {bias.shape}: want ({len(weight)},)")
    return weight, bias


def _folded(state: Weights, linear: Affine, norm: str) -> Affine:
    """gamma (y - mean) / sqrt(var + eps) + beta of y = weight @ x + bias, as one affine map."""
    weight, bias = linear
    gamma, beta, mean, variance = (
        _tensor(state, f"{norm}.{part}", 1) for part in ("weight", "bias", "running_mean", "running_var")
    )
    for part in (gamma, beta, mean, variance):
        if len(part) != len(weight):
            raise ValueError(f"{norm} has {len(part)} units: want {len(weight)}, as the layer before it")
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    return weight * scale[:, None], (bias - mean) * scale + beta


def _tensor(state: Weights, name: str, ndim: int) -> NDArray[np.float64]:
    if name not in state:
        raise ValueError(f"tensor {name} is missing from the checkpoint")
    value = np.asarray(state[name], np.float64)
    if value.ndim != ndim:
        raise ValueError(f"{name} has shape {value.shape}: want {ndim} dimensions")
    return value


def _read(path: Path) -> Weights:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not path.is_file():
            raise FileNotFoundError(path)
        try:
            tensors: dict[str, NDArray[Any]] = load_file(path)
        except SafetensorError as e:
            raise CorruptFile(f"{path}: not a safetensors file ({e})") from e
        return tensors
    if path.suffix not in (".pt", ".pth"):
        raise ValueError(f"source is {str(path)!r}: want a .safetensors, .pt or .pth file")
    return _read_torch(path)


def _read_torch(path: Path) -> Weights:
    """Weights only: a pickle may run code, so whatever else a checkpoint holds is refused."""
    with needed("train", "a .pt file, unlike .safetensors,"):
        import torch
    from pickle import UnpicklingError

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as e:
        raise CorruptFile(
            f"{path}: holds more than weights, or is no checkpoint; save its state dict alone ({e})"
        ) from e
    state = checkpoint.get("model", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise CorruptFile(f"{path}: holds a {type(checkpoint).__name__}, want a state dict")
    return {str(name): value.double().numpy() for name, value in state.items() if isinstance(value, torch.Tensor)}
