"""Sizes of SAM, and the keys and shapes of its files: no torch here.

Sizes are those of the paper's image encoders (ViT-B, L, H); keys are those of the published files
(``sam_vit_b_01ec64.pth`` and its likes), which hold the tensors of all three parts and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from bebr.models.config import PatchConfig

__all__ = ["SIZES", "STEM", "Config", "manifest"]

STEM = (4, 16)  # channels on a mask's way in


@dataclass(frozen=True)
class Config(PatchConfig):
    """``width``, ``layers``, ``heads``, ``window`` and ``every`` are the image encoder's: each ``every``-th block sees
    the whole picture, the others squares of ``window`` patches. ``channels`` of its map and of all that comes after.
    ``masks`` are offered where a prompt can mean several things; one more is for those that cannot."""

    image_size: int = 1024
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    window: int = 14
    every: int = 3
    channels: int = 256
    decoder_layers: int = 2
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    masks: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("width", "heads")
        self.check_multiple("layers", "every")
        if self.channels % 8 or self.channels // 2 % self.decoder_heads:
            heads = self.decoder_heads
            raise ValueError(f"channels: got {self.channels}, wanted a multiple of 8 and of 2 decoder_heads, {heads}")

    def sees_all(self, block: int) -> bool:
        """Whether a block of the image encoder has no windows."""
        return block % self.every == self.every - 1


SIZES = {
    "vit-b": Config(),
    "vit-l": Config(width=1024, layers=24, heads=16, every=6),
    "vit-h": Config(width=1280, layers=32, heads=16, every=8),
    "tiny": Config(64, 8, 32, 4, 2, 3, 2, 16, 2, 2, 32),
}


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of a file and its shape, all float32."""
    return {
        **{f"image_encoder.{key}": shape for key, shape in _encoder(config).items()},
        **{f"prompt_encoder.{key}": shape for key, shape in _prompts(config).items()},
        **{f"mask_decoder.{key}": shape for key, shape in _decoder(config).items()},
    }


def _encoder(config: Config) -> dict[str, tuple[int, ...]]:
    d, c, side = config.width, config.channels, config.patch_size
    keys: dict[str, tuple[int, ...]] = {"pos_embed": (1, config.across, config.across, d)}
    keys |= {"patch_embed.proj.weight": (d, 3, side, side), "patch_embed.proj.bias": (d,)}
    for i in range(config.layers):
        reach = 2 * (config.across if config.sees_all(i) else config.window) - 1
        block = {**_norm("norm1", d), "attn.rel_pos_h": (reach, d // config.heads)}
        block |= {"attn.rel_pos_w": (reach, d // config.heads)}
        block |= {**_linear("attn.qkv", d, 3 * d), **_linear("attn.proj", d, d), **_norm("norm2", d)}
        block |= {**_linear("mlp.lin1", d, 4 * d), **_linear("mlp.lin2", 4 * d, d)}
        keys |= {f"blocks.{i}.{key}": shape for key, shape in block.items()}
    keys |= {"neck.0.weight": (c, d, 1, 1), **_norm("neck.1", c)}
    return {**keys, "neck.2.weight": (c, c, 3, 3), **_norm("neck.3", c)}


def _prompts(config: Config) -> dict[str, tuple[int, ...]]:
    c, (first, second) = config.channels, STEM
    keys: dict[str, tuple[int, ...]] = {"pe_layer.positional_encoding_gaussian_matrix": (2, c // 2)}
    names = [*(f"point_embeddings.{i}" for i in range(4)), "not_a_point_embed", "no_mask_embed"]
    keys |= {f"{name}.weight": (1, c) for name in names}
    keys |= {"mask_downscaling.0.weight": (first, 1, 2, 2), "mask_downscaling.0.bias": (first,)}
    keys |= _norm("mask_downscaling.1", first)
    keys |= {"mask_downscaling.3.weight": (second, first, 2, 2), "mask_downscaling.3.bias": (second,)}
    keys |= _norm("mask_downscaling.4", second)
    return {**keys, "mask_downscaling.6.weight": (c, second, 1, 1), "mask_downscaling.6.bias": (c,)}


def _decoder(config: Config) -> dict[str, tuple[int, ...]]:
    c, outputs = config.channels, config.masks + 1
    keys: dict[str, tuple[int, ...]] = {"iou_token.weight": (1, c), "mask_tokens.weight": (outputs, c)}
    for i in range(config.decoder_layers):
        layer = {**_attention("self_attn", c, c), **_attention("cross_attn_token_to_image", c, c // 2)}
        layer |= _attention("cross_attn_image_to_token", c, c // 2)
        layer |= {**_linear("mlp.lin1", c, config.decoder_mlp), **_linear("mlp.lin2", config.decoder_mlp, c)}
        for norm in ("norm1", "norm2", "norm3", "norm4"):
            layer |= _norm(norm, c)
        keys |= {f"transformer.layers.{i}.{key}": shape for key, shape in layer.items()}
    keys |= _attention("transformer.final_attn_token_to_image", c, c // 2)
    keys |= _norm("transformer.norm_final_attn", c)
    keys |= {"output_upscaling.0.weight": (c, c // 4, 2, 2), "output_upscaling.0.bias": (c // 4,)}
    keys |= _norm("output_upscaling.1", c // 4)
    keys |= {"output_upscaling.3.weight": (c // 4, c // 8, 2, 2), "output_upscaling.3.bias": (c // 8,)}
    for i in range(outputs):
        keys |= _three(f"output_hypernetworks_mlps.{i}", c, c // 8)
    return {**keys, **_three("iou_prediction_head", c, outputs)}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _attention(name: str, c: int, inner: int) -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {}
    for part in ("q_proj", "k_proj", "v_proj"):
        keys |= _linear(f"{name}.{part}", c, inner)
    return {**keys, **_linear(f"{name}.out_proj", inner, c)}


def _three(name: str, c: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """A perceptron of three layers, ``c`` wide."""
    keys = {**_linear(f"{name}.layers.0", c, c), **_linear(f"{name}.layers.1", c, c)}
    return {**keys, **_linear(f"{name}.layers.2", c, outputs)}
