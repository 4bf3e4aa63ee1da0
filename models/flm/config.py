"""Sizes of FLM: no torch here."""

from __future__ import annotations

from dataclasses import dataclass

from bebr.models.config import PatchConfig

__all__ = ["SIZES", "Config"]


@dataclass(frozen=True)
class Config(PatchConfig):
    """Pictures and texts are both ``width`` wide. ``layers`` read the text alone, ``cross_layers`` the picture too, and
    the reconstructor has as many of both. ``max_tokens`` is the longest text, marks included, ``positions`` the rows of
    RoBERTa's table of positions, two of which are never read. Perceptrons are four times as wide as their block.

    ``projected`` adds two square maps from pictures and texts alone into one space: ours, not the paper's.
    """

    image_size: int = 288
    patch_size: int = 32
    width: int = 768
    vision_layers: int = 11
    vision_heads: int = 12
    layers: int = 6
    cross_layers: int = 6
    heads: int = 12
    vocab_size: int = 50265
    positions: int = 514
    max_tokens: int = 50
    dropout: float = 0.1
    ranked: bool = True
    projected: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: got {self.dropout!r}, wanted a number from 0 to below 1")
        for name in ("heads", "vision_heads"):
            self.check_multiple("width", name)
        if not 3 <= self.max_tokens <= self.positions - 2:
            raise ValueError(f"max_tokens: got {self.max_tokens}, wanted 3 to positions - 2, {self.positions - 2}")


SIZES = {
    # CLIP's ViT-B/32 without its last block, the first six layers of RoBERTa-base.
    "base": Config(),
    # Ours: trains on one CPU core in minutes. vocab_size is what is learned from the captions, this at most.
    "tiny": Config(64, 16, 128, 2, 4, 2, 2, 4, 600, 34, 32, 0.0, True, True),
}
