"""Sizes of OFA's encoder, and the keys and shapes of its files: no torch here.

Keys are those of OFA's checkpoints under ``encoder.``; its convolutional network has torchvision's names, without the
fourth stage. The decoder makes no vectors, so it is neither built nor read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bebr.models.config import NetworkConfig

__all__ = ["KINDS", "SIZES", "STRIDE", "Config", "expert_manifest", "manifest", "of_encoder"]

KINDS = ("adapter", "lora", "prefix")
STRIDE = 16
"""Pixels of a picture's side for one position."""
_BLOCKS = {8: (1, 1, 1), 50: (3, 4, 6), 101: (3, 4, 23), 152: (3, 8, 36)}
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Pictures are ``image_size`` square; ``depth`` names the convolutional network (8 is ours), ``channels`` are those
    of its first layer. ``buckets`` and ``image_buckets`` say how far relative positions of tokens and of picture parts
    are told apart. ``expert`` is the kind in the file, ``""`` for none, and ``expert_size`` its width or length; LoRA
    is part of the weights, so it is no kind here."""

    absent: ClassVar[tuple[str, ...]] = ("expert_size",)

    image_size: int = 384
    depth: int = 101
    channels: int = 64
    width: int = 768
    heads: int = 12
    layers: int = 6
    vocab_size: int = 59457
    context: int = 1024
    buckets: int = 256
    image_buckets: int = 42
    expert: str = ""
    expert_size: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("width", "heads")
        if self.depth not in _BLOCKS:
            raise ValueError(f"depth: got {self.depth}, wanted {', '.join(map(str, _BLOCKS))}")
        if self.image_size % STRIDE or self.across > self.image_buckets:
            most = STRIDE * self.image_buckets
            raise ValueError(f"image_size: got {self.image_size}, wanted a multiple of {STRIDE} up to {most}")
        if not 4 <= self.buckets < 2 * self.context - 2:
            raise ValueError(f"buckets: got {self.buckets}, wanted 4 to below {2 * self.context - 2}")
        if self.expert not in ("", "adapter", "prefix") or bool(self.expert) != bool(self.expert_size):
            raise ValueError(
                f"expert, expert_size: got {self.expert!r}, {self.expert_size}, wanted '' and 0, or adapter or prefix "
                "and its size"
            )

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks of each stage of the convolutional network."""
        return _BLOCKS[self.depth]

    @property
    def across(self) -> int:
        """Positions in a row of a picture."""
        return self.image_size // STRIDE


SIZES = {
    "ofa-tiny": Config(256, 50, 64, 256, 4, 4),
    "ofa-medium": Config(256, 101, 64, 512, 8, 4),
    "ofa-base": Config(),
    "ofa-large": Config(480, 152, 64, 1024, 16, 12),
    "ofa-huge": Config(480, 152, 64, 1280, 16, 24),
    # Ours: trains on one CPU core in minutes.
    "tiny": Config(64, 8, 8, 128, 4, 4, 2000, 64, 32, 8),
}


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of our files and its shape, all float32; an expert's keys follow ``expert.``."""
    d = config.width
    keys: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (config.vocab_size, d),
        "type_embedding.weight": (2, d),
        "embed_positions.weight": (config.context + 2, d),
        "embed_image_positions.weight": (config.image_buckets**2 + 1, d),
    }

    def linear(name: str, outputs: int, inputs: int) -> None:
        keys[f"{name}.weight"], keys[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str, size: int = d) -> None:
        keys[f"{name}.weight"] = keys[f"{name}.bias"] = (size,)

    _convolutions(keys, config)
    linear("image_proj", d, 16 * config.channels)
    for name in ("layernorm_embedding", "patch_layernorm_embedding", "pos_ln", "image_pos_ln", "layer_norm"):
        norm(name)
    for name in ("pos_q_linear", "pos_k_linear"):
        linear(name, d, d)
    for i in range(config.layers):
        keys[f"token_rel_pos_table_list.{i}.weight"] = (2 * config.buckets - 1, config.heads)
        keys[f"image_rel_pos_table_list.{i}.weight"] = ((2 * config.image_buckets - 1) ** 2 + 3, config.heads)
        for name in _PROJECTIONS:
            linear(f"layers.{i}.self_attn.{name}", d, d)
        keys[f"layers.{i}.self_attn.c_attn"] = (config.heads,)
        for name in ("self_attn_layer_norm", "attn_ln", "final_layer_norm"):
            norm(f"layers.{i}.{name}")
        norm(f"layers.{i}.ffn_layernorm", 4 * d)
        linear(f"layers.{i}.fc1", 4 * d, d)
        linear(f"layers.{i}.fc2", d, 4 * d)
    if config.expert:
        found = expert_manifest(config.expert, config.expert_size, config.width, config.layers)
        keys |= {f"expert.{key}": shape for key, shape in found.items()}
    return keys


def expert_manifest(kind: str, size: int, width: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of one expert of the encoder; ``size`` is an adapter's inner width, LoRA's rank, or how many keys
    and values a prefix has."""
    keys: dict[str, tuple[int, ...]] = {}
    for i in range(layers):
        if kind == "prefix":  # published: one table for all layers, see published.py
            keys[f"layers.{i}.prompt"] = (2, size, width)
        for name in _PROJECTIONS if kind == "lora" else ():
            keys[f"layers.{i}.self_attn.{name}.lora_A"] = (size, width)
            keys[f"layers.{i}.self_attn.{name}.lora_B"] = (width, size)
        for name in ("adapter1", "adapter2") if kind == "adapter" else ():
            for part, outputs, inputs in (("down_proj", size, width), ("up_proj", width, size)):
                keys[f"layers.{i}.{name}.{part}.weight"] = (outputs, inputs)
                keys[f"layers.{i}.{name}.{part}.bias"] = (outputs,)
    return keys


def _convolutions(keys: dict[str, tuple[int, ...]], config: Config) -> None:
    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            keys[f"embed_images.{name}.{part}"] = (channels,)

    keys["embed_images.conv1.weight"] = (config.channels, 3, 7, 7)
    norm("bn1", config.channels)
    read = config.channels
    for stage, count in enumerate(config.blocks):
        inner = config.channels * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            for i, shape in enumerate([(inner, read, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1)], 1):
                keys[f"embed_images.{name}.conv{i}.weight"] = shape
                norm(f"{name}.bn{i}", shape[0])
            if block == 0:
                keys[f"embed_images.{name}.downsample.0.weight"] = (4 * inner, read, 1, 1)
                norm(f"{name}.downsample.1", 4 * inner)
            read = 4 * inner


def of_encoder(state: Mapping[str, Any]) -> dict[str, Any]:
    """The encoder's tensors of a whole file, without ``encoder.``; the decoder's are left out, what is of neither stays
    under its name and is found to be unexpected."""
    return {key.removeprefix("encoder."): value for key, value in state.items() if not key.startswith("decoder")}
