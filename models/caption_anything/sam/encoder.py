"""SAM's image encoder: a vision transformer whose blocks see windows, a few of them the whole picture (Li et al.,
arXiv 2203.16527), with positions decomposed into rows and columns (Li et al., arXiv 2112.01526)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, pad, scaled_dot_product_attention

from bebr.models.caption_anything.sam.config import Config

__all__ = ["ChannelNorm", "ImageEncoder"]

_EPS = 1e-6


class ChannelNorm(nn.Module):
    """Layer normalisation of each place of a map [n, c, height, width] over its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, _EPS)
        return y.permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Attention within squares [n, side, side, d]: a query adds its products with a vector for each distance in rows
    and one for each distance in columns."""

    def __init__(self, d: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, d // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, d // heads))

    def forward(self, x: Tensor) -> Tensor:
        n, side, _, d = x.shape
        q, k, v = self.qkv(x).view(n, side * side, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        at = torch.arange(side, device=x.device)
        apart = at[:, None] - at + side - 1
        placed = q.reshape(n, self.heads, side, side, -1)
        rows = torch.einsum("nhyxc,ykc->nhyxk", placed, self.rel_pos_h[apart])
        columns = torch.einsum("nhyxc,xkc->nhyxk", placed, self.rel_pos_w[apart])
        bias = (rows[..., None] + columns[..., None, :]).reshape(n, self.heads, side * side, side * side)
        y = scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(y.transpose(1, 2).reshape(n, side, side, d))


class Block(nn.Module):
    """Pre-LN: x = x + attention(LN x), by windows unless ``window`` is 0; x = x + W2 gelu(W1 LN x)."""

    def __init__(self, config: Config, window: int) -> None:
        super().__init__()
        d, self.window = config.width, window
        self.attn = Attention(d, config.heads, window or config.across)
        self.norm1, self.norm2 = nn.LayerNorm(d, _EPS), nn.LayerNorm(d, _EPS)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(d, 4 * d), "lin2": nn.Linear(4 * d, d)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + (self._windowed(self.norm1(x)) if self.window else self.attn(self.norm1(x)))
        return x + self.mlp["lin2"](gelu(self.mlp["lin1"](self.norm2(x))))

    def _windowed(self, x: Tensor) -> Tensor:
        """Attention within windows from the top left; those that reach beyond the map see zeros there, as published:
        nothing hides them."""
        n, side, _, d = x.shape
        window = self.window
        across = -(-side // window)
        more = across * window - side
        x = pad(x, (0, 0, 0, more, 0, more)).view(n, across, window, across, window, d)
        y = self.attn(x.transpose(2, 3).reshape(-1, window, window, d))
        y = y.view(n, across, across, window, window, d).transpose(2, 3).reshape(n, side + more, side + more, d)
        return y[:, :side, :side]


class ImageEncoder(nn.Module):
    """Normalised pixels [n, 3, side, side] to a map [n, channels, across, across]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d, c = config.width, config.channels
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, d, config.patch_size, config.patch_size)})
        self.pos_embed = nn.Parameter(torch.zeros(1, config.across, config.across, d))
        windows = [0 if config.sees_all(i) else config.window for i in range(config.layers)]
        self.blocks = nn.ModuleList(Block(config, window) for window in windows)
        self.neck = nn.Sequential(
            nn.Conv2d(d, c, 1, bias=False), ChannelNorm(c), nn.Conv2d(c, c, 3, padding=1, bias=False), ChannelNorm(c)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patch_embed["proj"](pixels).permute(0, 2, 3, 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))
