"""BERT and RoBERTa encoders of ``bert.py``'s blocks, with SimCSE's two ways to pool."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bebr.models import bert
from bebr.models.simcse.config import Config

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """``forward`` gives the vector of the first token, [n, d], before or after the pooler tanh(W h + b)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        d, eps, dropout = config.hidden_size, config.layer_norm_eps, config.hidden_dropout_prob
        self.embeddings = bert.Embeddings(
            config.vocab_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            d,
            eps,
            config.pad_token_id,
            config.model_type == "roberta",
            dropout,
        )
        layers = [
            bert.Layer(
                d,
                config.num_attention_heads,
                config.intermediate_size,
                eps,
                dropout,
                config.attention_probs_dropout_prob,
            )
            for _ in range(config.num_hidden_layers)
        ]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(d, d)})

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
        allowed = mask[:, None, None, :].bool()
        for layer in self.encoder["layer"]:
            x = layer(x, allowed)
        return x

    def forward(self, tokens: Tensor, mask: Tensor, pooled: bool = True) -> Tensor:
        first = self.hidden(tokens, mask)[:, 0]
        return torch.tanh(self.pooler["dense"](first)) if pooled else first
