"""Sizes of RILS, and the keys and shapes of its files: no torch here.

The keys are those of the published model class: MAE's for the pictures (He et al. 2022), with the biases of queries
and values apart as in BEiT, and CLIP's for the texts (Radford et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bebr.models.config import PatchConfig

__all__ = ["SIZES", "Config", "manifest", "renamed"]


@dataclass(frozen=True)
class Config(PatchConfig):
    """``width``, ``layers`` and ``heads`` are the encoder's (the decoder has as many heads), ``context`` the longest
    text in tokens, ``embed_dim`` the dimensions of the common space. Perceptrons are four times as wide as their
    block."""

    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    decoder_width: int = 768
    decoder_layers: int = 1
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    context: int = 77
    vocab_size: int = 49408
    embed_dim: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, parts in (("width", "heads"), ("decoder_width", "heads"), ("text_width", "text_heads")):
            self.check_multiple(name, parts)
        for name in ("width", "decoder_width"):
            if getattr(self, name) % 4:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted a multiple of 4: positions need it")


SIZES = {
    "vit-b-16": Config(),
    "vit-l-16": Config(
        width=1024,
        layers=24,
        heads=16,
        decoder_width=1024,
        text_width=768,
        text_heads=12,
        embed_dim=768,
    ),
    # Ours: trains on one CPU core in minutes. vocab_size is 514 and the merges that are learned from the texts.
    "tiny": Config(48, 12, 128, 4, 4, 128, 1, 128, 2, 4, 24, 1538, 128),
}


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of a checkpoint and its shape, all float32. Linear weights are [out, in]; projections [in, out]."""
    keys: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        keys[f"{name}.weight"], keys[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str, d: int) -> None:
        keys[f"{name}.weight"] = keys[f"{name}.bias"] = (d,)

    def block(name: str, d: int) -> None:
        norm(f"{name}.norm1", d)
        keys[f"{name}.attn.qkv.weight"] = (3 * d, d)
        keys[f"{name}.attn.q_bias"] = keys[f"{name}.attn.v_bias"] = (d,)
        linear(f"{name}.attn.proj", d, d)
        norm(f"{name}.norm2", d)
        linear(f"{name}.mlp.fc1", 4 * d, d)
        linear(f"{name}.mlp.fc2", d, 4 * d)

    d, wide, text, side = config.width, config.decoder_width, config.text_width, config.patch_size
    keys["visual.cls_token"] = (1, 1, d)
    keys["visual.pos_embed"] = (1, config.patches + 1, d)
    keys["visual.patch_embed.proj.weight"] = (d, 3, side, side)
    keys["visual.patch_embed.proj.bias"] = (d,)
    for i in range(config.layers):
        block(f"visual.blocks.{i}", d)
    norm("visual.norm", d)
    linear("visual.decoder_embed", wide, d)
    keys["visual.mask_token"] = (1, 1, wide)
    keys["visual.decoder_pos_embed"] = (1, config.patches + 1, wide)
    for i in range(config.decoder_layers):
        block(f"visual.decoder_blocks.{i}", wide)
    norm("visual.decoder_norm", wide)
    linear("visual.decoder_pred", d, wide)
    for i in range(config.text_layers):
        layer = f"transformer.resblocks.{i}"
        keys[f"{layer}.attn.in_proj_weight"], keys[f"{layer}.attn.in_proj_bias"] = (3 * text, text), (3 * text,)
        linear(f"{layer}.attn.out_proj", text, text)
        norm(f"{layer}.ln_1", text)
        norm(f"{layer}.ln_2", text)
        linear(f"{layer}.mlp.c_fc", 4 * text, text)
        linear(f"{layer}.mlp.c_proj", text, 4 * text)
    keys["token_embedding.weight"] = (config.vocab_size, text)
    keys["positional_embedding"] = (config.context, text)
    norm("ln_final", text)
    keys["image_projection"] = (d, config.embed_dim)
    keys["text_projection"] = (text, config.embed_dim)
    keys["logit_scale"] = ()
    return keys


def renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's tensors under the manifest's keys: training on several devices puts ``module.`` before each."""
    out: dict[str, Any] = {}
    for key, tensor in state.items():
        name = key.removeprefix("module.")
        if name in out:
            raise ValueError(f"weights: {key} is there twice, with and without 'module.'")
        out[name] = tensor
    return out
