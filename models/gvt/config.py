"""Sizes of GVT, and the keys and shapes of its weights: no torch here.

The keys are those of the published model file: EVA-02's for the encoder, Flamingo's resampler for the latents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bebr.models.config import PatchConfig

__all__ = ["SIZES", "Config", "manifest", "vision_manifest"]


@dataclass(frozen=True)
class Config(PatchConfig):
    """``width``, ``layers`` and ``heads`` are the encoder's, ``hidden`` the width inside its gated perceptrons.
    ``latents`` come out of the resampler of ``latent_layers`` layers and ``latent_heads`` heads, each
    ``latent_head_width`` wide; 0 latents: there is no resampler."""

    image_size: int = 224
    patch_size: int = 14
    width: int = 1024
    layers: int = 24
    heads: int = 16
    hidden: int = 2730
    latents: int = 32
    latent_layers: int = 6
    latent_heads: int = 16
    latent_head_width: int = 96

    absent: ClassVar[tuple[str, ...]] = ("latents",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (4 * self.heads):
            raise ValueError(
                f"width: got {self.width}, wanted a multiple of 4 x heads, {4 * self.heads}: a head is turned by row "
                "and by column, two numbers at a time"
            )

    @property
    def head_width(self) -> int:
        """Width of a head of the encoder."""
        return self.width // self.heads

    def without_latents(self) -> Config:
        """The encoder alone."""
        return replace(self, latents=0)


SIZES = {
    "vit-l-14": Config(),  # hidden: 1024 x 8 / 3, rounded down
    # Ours: trains on one CPU core in minutes.
    "tiny": Config(64, 8, 96, 4, 4, 256, 8, 2, 4, 24),
}


def vision_manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Keys of the encoder alone and their shapes, without what stands before ``cls_token``; all float32."""
    d, wide, side = config.width, config.hidden, config.patch_size
    keys: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, d),
        "pos_embed": (1, config.patches + 1, d),
        "patch_embed.proj.weight": (d, 3, side, side),
        "patch_embed.proj.bias": (d,),
    }
    for i in range(config.layers):
        block = f"blocks.{i}"
        for name, width in (("norm1", d), ("attn.inner_attn_ln", d), ("norm2", d), ("mlp.ffn_ln", wide)):
            keys[f"{block}.{name}.weight"] = keys[f"{block}.{name}.bias"] = (width,)
        for name in ("q_proj", "k_proj", "v_proj"):
            keys[f"{block}.attn.{name}.weight"] = (d, d)
        keys[f"{block}.attn.q_bias"] = keys[f"{block}.attn.v_bias"] = (d,)  # keys have none
        for name, outputs, inputs in (
            ("attn.proj", d, d),
            ("mlp.w1", wide, d),
            ("mlp.w2", wide, d),
            ("mlp.w3", d, wide),
        ):
            keys[f"{block}.{name}.weight"], keys[f"{block}.{name}.bias"] = (outputs, inputs), (outputs,)
    return keys


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of the network and its shape, all float32. Linear weights are [out, in]."""
    d = config.width
    keys = {f"visual_encoder.{key}": shape for key, shape in vision_manifest(config).items()}
    keys["ln_vision.weight"] = keys["ln_vision.bias"] = (d,)
    if not config.latents:
        return keys
    inner = config.latent_heads * config.latent_head_width
    keys["perceiver.latents"] = (config.latents, d)
    keys["perceiver.media_pos_emb"] = (1, 1, d)
    for i in range(config.latent_layers):
        layer = f"perceiver.layers.{i}"
        for name in ("0.norm_media", "0.norm_latents", "1.0"):
            keys[f"{layer}.{name}.weight"] = keys[f"{layer}.{name}.bias"] = (d,)
        keys[f"{layer}.0.to_q.weight"] = (inner, d)
        keys[f"{layer}.0.to_kv.weight"] = (2 * inner, d)
        keys[f"{layer}.0.to_out.weight"] = (d, inner)
        keys[f"{layer}.1.1.weight"], keys[f"{layer}.1.3.weight"] = (4 * d, d), (d, 4 * d)
    keys["perceiver.norm.weight"] = keys["perceiver.norm.bias"] = (d,)
    return keys
