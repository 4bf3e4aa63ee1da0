"""The Perceiver resampler (Alayrac et al. 2022, arXiv 2204.14198, section 3.1.1): any number of tokens to a few.

A layer: x' = LN x, l' = LN l; l = l + W_o softmax(W_q l' (W_k [x', l'])^T / sqrt(head)) W_v [x', l'];
l = l + W_2 gelu(W_1 LN l). A last LN. Nothing has a bias but the norms, whose epsilon is 1e-5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["Perceiver"]


class LatentAttention(nn.Module):
    """Latents [n, k, d] ask the inputs [n, t, d] and themselves."""

    def __init__(self, d: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_width
        self.norm_media, self.norm_latents = nn.LayerNorm(d), nn.LayerNorm(d)
        self.to_q, self.to_kv = nn.Linear(d, inner, bias=False), nn.Linear(d, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, d, bias=False)

    def forward(self, inputs: Tensor, latents: Tensor) -> Tensor:
        latents = self.norm_latents(latents)
        k, v = self.to_kv(torch.cat([self.norm_media(inputs), latents], 1)).chunk(2, -1)

        def split(y: Tensor) -> Tensor:
            return y.unflatten(2, (self.heads, -1)).transpose(1, 2)

        out = scaled_dot_product_attention(split(self.to_q(latents)), split(k), split(v))
        return self.to_out(out.transpose(1, 2).flatten(2))


class Perceiver(nn.Module):
    """Tokens [n, t, d] to latents [n, k, d]."""

    def __init__(self, d: int, latents: int, layers: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(latents, d))
        self.media_pos_emb = nn.Parameter(torch.zeros(1, 1, d))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    LatentAttention(d, heads, head_width),
                    # numbered as in the files, where 2 is the GELU
                    nn.Sequential(
                        nn.LayerNorm(d), nn.Linear(d, 4 * d, bias=False), nn.GELU(), nn.Linear(4 * d, d, bias=False)
                    ),
                ]
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(d)

    def forward(self, inputs: Tensor, latents: Tensor | None = None) -> Tensor:
        """``latents`` [n, k, d] take the place of the learned ones, to ask about something in particular."""
        inputs = inputs + self.media_pos_emb[0]
        x = self.latents.expand(len(inputs), -1, -1) if latents is None else latents
        for attention, perceptron in self.layers:
            x = x + attention(inputs, x)
            x = x + perceptron(x)
        return self.norm(x)
