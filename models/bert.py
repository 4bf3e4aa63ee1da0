"""Blocks of BERT and RoBERTa, whose parameters bear the names of Hugging Face's checkpoints; several systems use them.

Post-LN transformer: x = LN(x + attention(x)); x = LN(x + W2 gelu(W1 x)), with the exact (erf) GELU and dropout on the
embeddings, on the attention's probabilities and before each residual sum (Devlin et al. 2019, Liu et al. 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

__all__ = ["Attention", "Embeddings", "FeedForward", "Layer", "Residual", "attending"]


class Embeddings(nn.Module):
    """Word, position and type vectors, summed and normalised: int64 [n, t] to [n, t, d]. ``counted``: RoBERTa's way of
    numbering what is not padding from the padding's id plus one."""

    def __init__(
        self, words: int, positions: int, types: int, d: int, eps: float, padding: int, counted: bool, dropout: float
    ) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, d, padding_idx=padding)
        self.position_embeddings = nn.Embedding(positions, d)
        self.token_type_embeddings = nn.Embedding(types, d)
        self.LayerNorm = nn.LayerNorm(d, eps)
        self.dropout = nn.Dropout(dropout)
        self.first = padding + 1 if counted else 0

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        if self.first:  # padding keeps the padding's id for its position
            positions = torch.cumsum(mask, 1) * mask + self.first - 1
        else:
            positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        x = self.word_embeddings(tokens) + self.position_embeddings(positions)
        x = x + self.token_type_embeddings.weight[0]  # one sentence an input: the first type throughout
        return self.dropout(self.LayerNorm(x))


class Attention(nn.Module):
    """Scaled dot-product attention of several heads: x [n, t, d] asks ``memory`` [n, s, d], or itself.

    ``allowed`` is bool, [n, 1, t, s] or what broadcasts to it; None allows all. Who is allowed nothing gets zeros.
    """

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.p = heads, dropout
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x: Tensor, allowed: Tensor | None, memory: Tensor | None = None) -> Tensor:
        memory = x if memory is None else memory
        n, t, d = x.shape
        q, k, v = (
            part(of).view(n, -1, self.heads, d // self.heads).transpose(1, 2)
            for part, of in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        dropout = self.p if self.training else 0.0
        if allowed is None:
            y = scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        else:
            # A softmax over nothing is no number. Such rows look at everything, and what they saw is wiped out.
            blind = ~allowed.any(-1, keepdim=True)
            y = scaled_dot_product_attention(q, k, v, allowed | blind, dropout).masked_fill(blind, 0.0)
        return y.transpose(1, 2).reshape(n, t, d)


class Residual(nn.Module):
    """LN(x + dropout(W y + b))."""

    def __init__(self, inputs: int, d: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, d)
        self.LayerNorm = nn.LayerNorm(d, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(x + self.dropout(self.dense(y)))


def attending(d: int, heads: int, eps: float, dropout: float, attention_dropout: float) -> nn.ModuleDict:
    """Attention under ``self`` and its residual sum under ``output``, as checkpoints name them."""
    return nn.ModuleDict({"self": Attention(d, heads, attention_dropout), "output": Residual(d, d, eps, dropout)})


class FeedForward(nn.Module):
    """LN(x + W2 gelu(W1 x)), the parts ``intermediate`` and ``output`` of a layer, which inherits them."""

    def __init__(self, d: int, wide: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(d, wide)})
        self.output = Residual(wide, d, eps, dropout)

    def feed(self, x: Tensor) -> Tensor:
        return self.output(gelu(self.intermediate["dense"](x)), x)


class Layer(FeedForward):
    """One transformer layer: x [n, t, d] and ``allowed`` to [n, t, d]."""

    def __init__(self, d: int, heads: int, wide: int, eps: float, dropout: float, attention_dropout: float) -> None:
        super().__init__(d, wide, eps, dropout)
        self.attention = attending(d, heads, eps, dropout, attention_dropout)

    def forward(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        return self.feed(self.attention["output"](self.attention["self"](x, allowed), x))
