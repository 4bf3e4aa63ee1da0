"""GVT's picture encoder: EVA-02's vision transformer (arXiv 2303.11331, section 2.1), parameters as in checkpoints.

x = x + proj(LN(softmax(R(W_q n + b_q) R(W_k n)^T / sqrt(head)) (W_v n + b_v))), n = LN x;
x = x + w3 LN(silu(w1 m) * (w2 m)), m = LN x. R turns queries and keys of patches by their places, beside learned
positions; the class token is not turned. LayerNorm's epsilon is 1e-6. What comes out has passed no last norm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from bebr.models.gvt.config import Config

__all__ = ["Block", "Vision", "angles", "turned"]

_EPS = 1e-6


def angles(width: int, across: int) -> Tensor:
    """By how much each pair of a head's numbers is turned at each patch: float64 [across^2, width].

    The first half goes by the patch's row, the second by its column, at frequencies 10000^(-2k / (width / 2)),
    k = 0 ... width / 4 - 1; each stands twice, for both numbers of its pair. (RoPE, Su et al. 2021, in two directions.)
    """
    half = width // 2
    # on the CPU whatever the default device: a network is made on the meta device and then filled from a file
    steps = torch.arange(0, half, 2, dtype=torch.float64, device="cpu")
    frequencies = (10000.0 ** (-steps / half)).repeat_interleave(2)
    one = torch.arange(across, dtype=torch.float64, device="cpu")[:, None] * frequencies
    return torch.cat([one.repeat_interleave(across, 0), one.repeat(across, 1)], 1)


def turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Neighbouring numbers (a, b) of [..., patches, width] turned to (a cos - b sin, b cos + a sin)."""
    swapped = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cosines + swapped * sines


class Attention(nn.Module):
    """Attention of several heads over a class token and patches, [n, 1 + p, d] to the same."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(d, d, bias=False) for _ in range(3))
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.zeros(d))
        self.inner_attn_ln = nn.LayerNorm(d, _EPS)
        self.proj = nn.Linear(d, d)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        n, t, d = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(n, t, self.heads, d // self.heads).transpose(1, 2)

        def placed(y: Tensor) -> Tensor:
            return torch.cat([y[:, :, :1], turned(y[:, :, 1:], cosines, sines)], 2)

        q = placed(split(linear(x, self.q_proj.weight, self.q_bias)))
        k = placed(split(self.k_proj(x)))
        v = split(linear(x, self.v_proj.weight, self.v_bias))
        out = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d)
        return self.proj(self.inner_attn_ln(out))


class SwiGLU(nn.Module):
    """The gated perceptron: [..., d] to the same."""

    def __init__(self, d: int, hidden: int) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(d, hidden), nn.Linear(d, hidden), nn.Linear(hidden, d)
        self.ffn_ln = nn.LayerNorm(hidden, _EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(self.ffn_ln(silu(self.w1(x)) * self.w2(x)))


class Block(nn.Module):
    """One block. ``paths`` [2, n]: by what each sample's two branches are multiplied; None: by one."""

    def __init__(self, d: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d, _EPS), nn.LayerNorm(d, _EPS)
        self.attn, self.mlp = Attention(d, heads), SwiGLU(d, hidden)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, paths: Tensor | None = None) -> Tensor:
        first, second = (1, 1) if paths is None else (one[:, None, None] for one in paths)
        x = x + first * self.attn(self.norm1(x), cosines, sines)
        return x + second * self.mlp(self.norm2(x))


class Vision(nn.Module):
    """Normalised pixels to tokens, class token first."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.width
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, d, config.patch_size, config.patch_size)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.patches + 1, d))
        self.blocks = nn.ModuleList(Block(d, config.heads, config.hidden) for _ in range(config.layers))
        table = angles(config.head_width, config.across)
        # no part of the files: they follow from the size
        self.register_buffer("cosines", table.cos().float(), persistent=False)
        self.register_buffer("sines", table.sin().float(), persistent=False)

    def embed(self, pixels: Tensor) -> Tensor:
        """Patches without their positions, [n, patches, d], of normalised pixels [n, 3, side, side]."""
        return self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)

    def encode(self, patches: Tensor, kept: Tensor | None = None, paths: Tensor | None = None) -> Tensor:
        """Tokens [n, 1 + k, d] of all patches, or of those that ``kept`` int64 [n, k] names, after the last block.

        ``paths`` [layers, 2, n]: stochastic depth, drawn by whoever trains.
        """
        x = patches + self.pos_embed[:, 1:]
        cosines, sines = self.cosines, self.sines
        if kept is not None:
            x = x.gather(1, kept[..., None].expand(-1, -1, x.shape[2]))
            cosines, sines = cosines[kept][:, None], sines[kept][:, None]  # [n, 1, k, head]
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1), x], 1)
        for i, block in enumerate(self.blocks):
            x = block(x, cosines, sines, None if paths is None else paths[i])
        return x

    def forward(self, pixels: Tensor) -> Tensor:
        """E of the paper: [n, 1 + patches, d]."""
        return self.encode(self.embed(pixels))
