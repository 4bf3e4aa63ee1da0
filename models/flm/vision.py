"""CLIP's picture encoder as FLM takes it: all tokens of the last layer, none projected (Radford et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bebr.models.clip import Block
from bebr.models.flm.config import Config

__all__ = ["Vision", "resized"]


class Vision(nn.Module):
    """Normalised pixels [n, 3, side, side] to the class token and all patches, [n, 1 + patches, d]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.width
        self.class_embedding = nn.Parameter(torch.zeros(d))
        self.positional_embedding = nn.Parameter(torch.zeros(config.patches + 1, d))
        self.conv1 = nn.Conv2d(3, d, config.patch_size, config.patch_size, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(d), nn.LayerNorm(d)
        blocks = [Block(d, config.vision_heads, causal=False) for _ in range(config.vision_layers)]
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(patches), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        for block in self.transformer["resblocks"]:
            x = block(x)
        return self.ln_post(x)


def resized(table: Tensor, patches: int) -> Tensor:
    """A table of positions [1 + old, d] for ``patches`` patches, [1 + patches, d]: the square of patches interpolated
    bicubically, the class token's row kept. Raises ValueError where either is no square."""
    old, new = round((len(table) - 1) ** 0.5), round(patches**0.5)
    if old < 1 or old * old != len(table) - 1 or new * new != patches:
        raise ValueError(f"weights: positions for {len(table) - 1} patches, wanted for {patches}: not squares of them")
    square = table[1:].view(1, old, old, -1).permute(0, 3, 1, 2).float()
    grown = interpolate(square, (new, new), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], grown.permute(0, 2, 3, 1).reshape(patches, -1).to(table.dtype)])
