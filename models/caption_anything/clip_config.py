"""Sizes of CLIP's vision transformers, and the keys and shapes of their files: no torch here.

The keys are those of the published model class (Radford et al. 2021), which open_clip's files share.
"""

from __future__ import annotations

from dataclasses import dataclass

from bebr.models.config import PatchConfig
from bebr.models.rils.config import Config as Texts
from bebr.models.rils.config import manifest as with_texts

__all__ = ["SIZES", "Config", "manifest"]


@dataclass(frozen=True)
class Config(PatchConfig):
    """``width``, ``layers`` and ``heads`` are the picture encoder's; the rest is as in RILS, whose texts go the same
    way."""

    image_size: int = 224
    patch_size: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    context: int = 77
    vocab_size: int = 49408
    embed_dim: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("width", "heads")
        self.check_multiple("text_width", "text_heads")


SIZES = {
    "vit-b-32": Config(),
    "vit-b-16": Config(patch_size=16),
    "vit-l-14": Config(224, 14, 1024, 24, 16, 768, 12, 12, embed_dim=768),
}


def manifest(config: Config) -> dict[str, tuple[int, ...]]:
    """Every key of a file and its shape, all float32 (published files hold some as float16)."""
    d, side = config.width, config.patch_size
    keys: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (d,),
        "visual.positional_embedding": (config.patches + 1, d),
        "visual.proj": (d, config.embed_dim),
        "visual.conv1.weight": (d, 3, side, side),
    }
    for name in ("ln_pre", "ln_post"):
        keys[f"visual.{name}.weight"] = keys[f"visual.{name}.bias"] = (d,)
    texts = {
        key: shape for key, shape in with_texts(_texts(config)).items() if not key.startswith(("visual.", "image_"))
    }
    # a block of the picture encoder is one of the text encoder's, of another width
    pictures = with_texts(_texts(config, d, config.layers, config.heads))
    blocks = {f"visual.{key}": shape for key, shape in pictures.items() if key.startswith("transformer.")}
    return {**keys, **blocks, **texts}


def _texts(config: Config, width: int = 0, layers: int = 0, heads: int = 0) -> Texts:
    return Texts(
        text_width=width or config.text_width,
        text_layers=layers or config.text_layers,
        text_heads=heads or config.text_heads,
        context=config.context,
        vocab_size=config.vocab_size,
        embed_dim=config.embed_dim,
    )
