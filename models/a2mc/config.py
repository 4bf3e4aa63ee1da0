"""Sizes of A2MC's encoders, and the keys and shapes of their weights: no torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bebr.models.a2mc.skeleton import SKELETONS, Skeleton
from bebr.models.config import NetworkConfig

__all__ = ["SIZES", "SUBSETS", "Config", "encoder_state", "manifest"]

SUBSETS = 3
"""Graphs of a graph convolution: each joint alone, inward bones, outward bones."""


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Clips are ``frames`` long with up to ``persons`` bodies of a ``skeleton``, ``ntu`` or ``kinect``. The three graph
    blocks have ``channels``, ``wide`` and ``last`` channels; ``width`` is that of the transformer layer behind them,
    which has ``heads``."""

    skeleton: str = "ntu"
    frames: int = 64
    persons: int = 2
    channels: int = 64
    wide: int = 256
    last: int = 64
    width: int = 2048
    heads: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.skeleton not in SKELETONS:
            raise ValueError(f"skeleton: got {self.skeleton!r}, wanted {', '.join(SKELETONS)}")
        self.check_multiple("width", "heads")
        for name in ("channels", "wide", "last"):
            if getattr(self, name) % 4:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted a multiple of 4: one part a branch")

    @property
    def graph(self) -> Skeleton:
        """The skeleton itself."""
        return SKELETONS[self.skeleton]

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Channels read and given by each graph block."""
        return ((3, self.channels), (self.channels, self.wide), (self.wide, self.last))

    @property
    def dim(self) -> int:
        """Of a clip's vector: both streams."""
        return 2 * self.width


SIZES = {
    "ntu": Config(),
    # Ours: trains on one CPU core in minutes.
    "tiny": Config("kinect", 32, 1, 16, 32, 16, 128, 4),
}


def relations(read: int) -> int:
    """Channels in which a graph convolution compares joints: an eighth, and 8 of coordinates."""
    return 8 if read in (3, 9) else max(1, read // 8)


def _graph(name: str, read: int, out: int, joints: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    between = relations(read)
    for i in range(SUBSETS):
        for part, (outputs, inputs) in enumerate(((between, read), (between, read), (out, read), (out, between)), 1):
            yield f"{name}.convs.{i}.conv{part}.weight", (outputs, inputs, 1, 1)
            yield f"{name}.convs.{i}.conv{part}.bias", (outputs,)
    yield f"{name}.PA", (SUBSETS, joints, joints)
    yield f"{name}.alpha", (1,)


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of the encoder and its shape, all float32, without what stands before ``gcn_t``."""
    keys: dict[str, tuple[int, ...]] = {}
    joints, d = config.graph.joints, config.width

    def conv(name: str, outputs: int, inputs: int, frames: int = 1) -> None:
        keys[f"{name}.weight"], keys[f"{name}.bias"] = (outputs, inputs, frames, 1), (outputs,)

    def norm(name: str, channels: int, kept: bool = True) -> None:
        for part in ("weight", "bias", *(("running_mean", "running_var") if kept else ())):
            keys[f"{name}.{part}"] = (channels,)

    def linear(name: str, outputs: int, inputs: int) -> None:
        keys[f"{name}.weight"], keys[f"{name}.bias"] = (outputs, inputs), (outputs,)

    for stream in ("gcn_t", "gcn_s"):
        norm(f"{stream}.data_bn", 3 * joints * config.persons)
        for number, (read, out) in enumerate(config.blocks, 1):
            block, part = f"{stream}.l{number}", out // 4
            keys |= dict(_graph(f"{block}.gcn1", read, out, joints))
            norm(f"{block}.gcn1.bn", out)
            if read != out:
                conv(f"{block}.gcn1.down.0", out, read)
                norm(f"{block}.gcn1.down.1", out)
                conv(f"{block}.residual.conv", out, read)
                norm(f"{block}.residual.bn", out)
            for branch in range(4):
                conv(f"{block}.tcn1.branches.{branch}.0", part, out)
                norm(f"{block}.tcn1.branches.{branch}.1", part)
            for branch in (0, 1):
                conv(f"{block}.tcn1.branches.{branch}.3.conv", part, part, 5)
                norm(f"{block}.tcn1.branches.{branch}.3.bn", part)
            norm(f"{block}.tcn1.branches.2.4", part)
    for stream, read in (("t", config.persons * joints * config.last), ("s", config.frames * config.last)):
        linear(f"channel_{stream}.0", d, read)
        norm(f"channel_{stream}.1", d, kept=False)
        linear(f"channel_{stream}.3", d, d)
        layer = f"{stream}_encoder.layers.0"
        keys[f"{layer}.self_attn.in_proj_weight"], keys[f"{layer}.self_attn.in_proj_bias"] = (3 * d, d), (3 * d,)
        for name in ("self_attn.out_proj", "linear1", "linear2"):
            linear(f"{layer}.{name}", d, d)
        for name in ("norm1", "norm2"):
            norm(f"{layer}.{name}", d, kept=False)
    return keys


def encoder_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's encoder under the manifest's keys: the query's, without heads, banks, the key encoder and counters
    of norms' batches. A file of ours is taken as it is."""
    queries = "encoder_q.encoder."
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    if any(key.startswith(queries) for key in bare):
        bare = {key.removeprefix(queries): value for key, value in bare.items() if key.startswith(queries)}
    return {key: value for key, value in bare.items() if not key.endswith(".num_batches_tracked")}
