"""What encoders of CLIP's kind share, with parameters named as in its checkpoints (Radford et al. 2021): the block of
both, and a text's way through them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

__all__ = ["Attention", "Block", "text_vectors"]


class Attention(nn.Module):
    """Attention of several heads: [n, t, d] to the same. ``causal``: each token sees itself and those before it."""

    def __init__(self, d: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight, self.in_proj_bias = nn.Parameter(torch.zeros(3 * d, d)), nn.Parameter(torch.zeros(3 * d))
        self.out_proj = nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        joined = linear(x, self.in_proj_weight, self.in_proj_bias).view(n, t, 3, self.heads, d // self.heads)
        q, k, v = joined.permute(2, 0, 3, 1, 4)
        y = scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(y.transpose(1, 2).reshape(n, t, d))


class Block(nn.Module):
    """Pre-LN: x = x + attention(LN x); x = x + W2 g(W1 LN x), with x sigmoid(1.702 x) for g: [n, t, d] to the same."""

    def __init__(self, d: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.attn = Attention(d, heads, causal)
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(d, 4 * d), "c_proj": nn.Linear(4 * d, d)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        inner = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))


def text_vectors(network: Any, tokens: Tensor) -> Tensor:
    """int64 [n, t], t up to the context, to [n, embed_dim], by a network with CLIP's text encoder. The end of a text is
    its largest id; what stands behind it changes nothing."""
    x = network.token_embedding(tokens) + network.positional_embedding[: tokens.shape[1]]
    for block in network.transformer["resblocks"]:
        x = block(x)
    last = network.ln_final(x)[torch.arange(len(tokens), device=tokens.device), tokens.argmax(1)]
    return last @ network.text_projection
