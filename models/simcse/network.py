"""BERT and RoBERTa encoders whose parameters bear the names of their checkpoints, with SimCSE's two ways to pool.

Post-LN transformer: x = LN(x + attention(x)); x = LN(x + W2 gelu(W1 x)), with the exact (erf) GELU and dropout on the
embeddings, on the attention's probabilities and before each residual sum (Devlin et al. 2019, Liu et al. 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from bebr.models.simcse.config import Config

__all__ = ["Encoder"]


class Embeddings(nn.Module):
    """Word, position and type vectors, summed and normalised: int64 [n, t] to [n, t, d]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, d, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, d)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, d)
        self.LayerNorm = nn.LayerNorm(d, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.first = config.pad_token_id + 1 if config.model_type == "roberta" else 0

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        if self.first:  # RoBERTa numbers what is not padding, from the padding's id plus one; padding keeps that id
            positions = torch.cumsum(mask, 1) * mask + self.first - 1
        else:
            positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        x = self.word_embeddings(tokens) + self.position_embeddings(positions)
        x = x + self.token_type_embeddings.weight[0]  # one sentence an input: the first type throughout
        return self.dropout(self.LayerNorm(x))


class SelfAttention(nn.Module):
    """Scaled dot-product attention of several heads over the positions that are not padding."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.hidden_size
        self.heads, self.p = config.num_attention_heads, config.attention_probs_dropout_prob
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = (
            part(x).view(n, t, self.heads, d // self.heads).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        allowed = mask[:, None, None, :].bool()
        y = scaled_dot_product_attention(q, k, v, allowed, self.p if self.training else 0.0)
        return y.transpose(1, 2).reshape(n, t, d)


class Residual(nn.Module):
    """LN(x + dropout(W y + b))."""

    def __init__(self, config: Config, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(x + self.dropout(self.dense(y)))


class Layer(nn.Module):
    """One transformer layer; the dicts give its parts the checkpoints' names."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d, wide = config.hidden_size, config.intermediate_size
        self.attention = nn.ModuleDict({"self": SelfAttention(config), "output": Residual(config, d)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(d, wide)})
        self.output = Residual(config, wide)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(gelu(self.intermediate["dense"](x)), x)


class Encoder(nn.Module):
    """``forward`` gives the vector of the first token, [n, d], before or after the pooler tanh(W h + b)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.hidden_size)})

    def initialize(self, seed: int) -> None:
        """Fresh weights as BERT starts: normal of deviation 0.02, biases 0, norms 1; the same for every machine."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.data.normal_(0, 0.02, generator=generator)
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight.data[module.padding_idx] = 0
            if isinstance(module, nn.Linear):
                module.bias.data.zero_()

    def hidden(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """All positions after the last layer, [n, t, d]. ``mask`` int64 [n, t] is 0 on padding."""
        x = self.embeddings(tokens, mask)
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        return x

    def forward(self, tokens: Tensor, mask: Tensor, pooled: bool = True) -> Tensor:
        first = self.hidden(tokens, mask)[:, 0]
        return torch.tanh(self.pooler["dense"](first)) if pooled else first
