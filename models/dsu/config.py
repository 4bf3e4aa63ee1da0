"""Sizes of the residual networks, and the keys and shapes of their files: no torch here.

The keys are torchvision's ResNet's, and ``BN`` for the norm behind the pooled features (BNNeck), as in the published
re-identification files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bebr.models.config import NetworkConfig

__all__ = ["SIZES", "Config", "backbone_state", "manifest"]

_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
_BEYOND_BASIC = 50  # from this depth on a block is a bottleneck


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Pictures are ``height`` x ``width``. ``depth`` is 10 (ours), 18 or 50 layers, ``channels`` those of the first;
    ``last_stride`` is 1 or 2, the last stage's. ``neck``: the pooled features pass a norm. ``adapted``: the file holds
    statistics of the training pictures (``adaptation.py``)."""

    height: int = 256
    width: int = 128
    depth: int = 50
    channels: int = 64
    last_stride: int = 1
    neck: bool = True
    adapted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth not in _BLOCKS:
            raise ValueError(f"depth: got {self.depth}, wanted {', '.join(map(str, _BLOCKS))}")
        if self.last_stride not in (1, 2):
            raise ValueError(f"last_stride: got {self.last_stride}, wanted 1 or 2")

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return _BLOCKS[self.depth]

    @property
    def strides(self) -> tuple[int, ...]:
        """Of each stage's first block."""
        return (1, 2, 2, self.last_stride)

    @property
    def expansion(self) -> int:
        """How many times wider than its inside a block's result is: 4 for bottlenecks, else 1."""
        return 4 if self.depth >= _BEYOND_BASIC else 1

    @property
    def dim(self) -> int:
        """Channels of the last stage: 2048 or 512 as published."""
        return 8 * self.channels * self.expansion

    @property
    def place_channels(self) -> tuple[int, ...]:
        """Channels behind each of the six places: conv1, maxpool, layer1 ... layer4."""
        c, e = self.channels, self.expansion
        return (c, c, e * c, 2 * e * c, 4 * e * c, 8 * e * c)


SIZES = {
    "reid-resnet50": Config(),
    "resnet18": Config(224, 224, 18, 64, 2, False),
    # Ours: trains on one CPU core in a minute.
    "tiny": Config(48, 48, 10, 16, 1, True),
}


def _stages(config: Config) -> Iterator[tuple[str, int, int, int]]:
    """Name, channels read and inner channels of each block, and the stride of its stage where it begins one, else 1."""
    read = config.channels
    for stage, blocks in enumerate(config.blocks):
        inner = config.channels * 2**stage
        for block in range(blocks):
            stride = config.strides[stage] if block == 0 else 1
            yield f"layer{stage + 1}.{block}", read, inner, stride
            read = inner * config.expansion


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of our files and its shape, all float32. Convolutions are [out, in, height, width]."""
    keys: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            keys[f"{name}.{part}"] = (channels,)

    keys["conv1.weight"] = (config.channels, 3, 7, 7)
    norm("bn1", config.channels)
    for name, read, inner, stride in _stages(config):
        out = inner * config.expansion
        shapes = [(inner, read, 1), (inner, inner, 3), (out, inner, 1)]
        if config.expansion == 1:
            shapes = [(inner, read, 3), (inner, inner, 3)]
        for i, (outputs, inputs, side) in enumerate(shapes, 1):
            keys[f"{name}.conv{i}.weight"] = (outputs, inputs, side, side)
            norm(f"{name}.bn{i}", outputs)
        if stride != 1 or read != out:
            keys[f"{name}.downsample.0.weight"] = (out, read, 1, 1)
            norm(f"{name}.downsample.1", out)
    if config.neck:
        norm("BN", config.dim)
    if config.adapted:
        keys["adaptation.reach"] = ()
        for place, channels in enumerate(config.place_channels):
            for name in ("middles", "spreads"):  # of means and of deviations
                keys[f"adaptation.{name}.{place}"] = (2, channels)
    return keys


def backbone_state(state: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """A published file's tensors under the manifest's keys.

    Re-identification files may have ``module.`` before each key; ``fc`` (unused there) and ``classifier`` are left out.
    Files of Dassl have the network under ``backbone.``; torchvision's have an ``fc`` of their own. Counters of norms'
    batches, which nothing reads, are left out. ValueError for a key that is there under two names.
    """
    out: dict[str, Any] = {}
    for key, tensor in state.items():
        name = key.removeprefix("module.")
        if name.startswith(("classifier.", "fc.")) or name.endswith(".num_batches_tracked"):
            continue
        name = name.removeprefix("backbone.")
        if name in out:
            raise ValueError(f"weights: {key} is there twice, under another name")
        out[name] = tensor
    return out
