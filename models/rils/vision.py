"""RILS's picture encoder and its decoder: MAE's (He et al. 2022, section 3), with parameters named as in checkpoints.

Pre-LN transformer: x = x + attention(LN x); x = x + W2 gelu(W1 LN x), exact (erf) GELU, LayerNorm's epsilon 1e-6. Keys
have no bias, queries and values one each. Positions are fixed sines and cosines of row and column. The decoder
foretells vectors of the encoder's own space, not pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

from bebr.models.rils.config import Config

__all__ = ["Vision", "positions", "shuffled"]

_EPS = 1e-6


def positions(width: int, side: int) -> Tensor:
    """Sines and cosines of the patches of a ``side`` x ``side`` picture behind a row of zeros for the class token:
    ``[1, 1 + side**2, width]``. The first half of a row tells the column, the second the row; each is sines, then
    cosines, of frequencies 10000^(-i / (width / 4))."""
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    one = torch.cat([angles.sin(), angles.cos()], 1)  # [side, width / 2]
    column, row = one.repeat(side, 1), one.repeat_interleave(side, 0)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), torch.cat([column, row], 1)])[None].float()


def shuffled(count: int, patches: int, keep: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Which patches each of ``count`` pictures keeps, int64 ``[count, keep]``, and where in that order, hidden ones
    behind, each patch lies, ``[count, patches]``: below ``keep`` it is kept. Drawn on the CPU: the same everywhere."""
    order = torch.rand(count, patches, generator=generator).argsort(1)
    return order[:, :keep], order.argsort(1)


class Attention(nn.Module):
    """Scaled dot-product attention of several heads over all tokens: [n, t, d] to the same."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.zeros(d))
        self.proj = nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = linear(x, self.qkv.weight, bias).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d))


class Block(nn.Module):
    """One transformer block: [n, t, d] to the same."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d, _EPS), nn.LayerNorm(d, _EPS)
        self.attn = Attention(d, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(d, 4 * d), "fc2": nn.Linear(4 * d, d)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(x))))


class Vision(nn.Module):
    """Encoder over all or some patches of a picture, and decoder from some to all."""

    pos_embed: Tensor
    decoder_pos_embed: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        d, wide, side = config.width, config.decoder_width, config.image_size // config.patch_size
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, d, config.patch_size, config.patch_size)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.register_buffer("pos_embed", positions(d, side))
        self.blocks = nn.ModuleList(Block(d, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(d, _EPS)
        self.decoder_embed = nn.Linear(d, wide)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, wide))
        self.register_buffer("decoder_pos_embed", positions(wide, side))
        self.decoder_blocks = nn.ModuleList(Block(wide, config.heads) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(wide, _EPS)
        self.decoder_pred = nn.Linear(wide, d)

    def embed(self, pixels: Tensor) -> Tensor:
        """Patches with their positions, [n, patches, d], of normalised pixels [n, 3, side, side]."""
        return self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]

    def encode(self, embedded: Tensor, kept: Tensor | None = None) -> Tensor:
        """All ``embedded`` patches, or those that ``kept`` [n, k] names, behind the class token: [n, 1 + k, d]."""
        if kept is not None:
            embedded = embedded.gather(1, kept[..., None].expand(-1, -1, embedded.shape[2]))
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(embedded), -1, -1)
        x = torch.cat([first, embedded], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def decode(self, encoded: Tensor, places: Tensor) -> Tensor:
        """From what ``encode`` made of the kept patches, the decoder's last tokens for every patch: [n, patches, wide].

        ``places`` [n, patches] are those of ``shuffled``.
        """
        x = self.decoder_embed(encoded)
        hidden = self.mask_token.expand(len(x), places.shape[1] + 1 - x.shape[1], -1)
        inner = torch.cat([x[:, 1:], hidden], 1).gather(1, places[..., None].expand(-1, -1, x.shape[2]))
        x = torch.cat([x[:, :1], inner], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_norm(x)[:, 1:]

    def predict(self, encoded: Tensor, places: Tensor) -> Tensor:
        """g of the paper: for every patch the vector that the encoder is foretold to give it, [n, patches, d]."""
        return self.decoder_pred(self.decode(encoded, places))
