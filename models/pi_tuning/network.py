"""OFA's encoder (Wang et al. 2022, arXiv 2202.03052): parts of a picture and tokens of a text in one transformer;
parameters bear the names of its files.

Pre-LN with three norms and a scale more than usual: x = x + LN(attention(LN x)), each head scaled before the output
projection; x = x + W2 LN(gelu(W1 LN x)). Positions never enter x: their products, of a projection apart, are added to
the attention's scores, as are rows of the tables of relative positions. Scores of both are over (2 d / heads)^.5.
There is no dropout here (published: of the branches).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, pad, relu, scaled_dot_product_attention

from bebr.models.dsu.layers import Bottleneck
from bebr.models.norm import BatchNorm
from bebr.models.pi_tuning.config import Config
from bebr.models.pi_tuning.experts import NOTHING, Expert, LayerExpert
from bebr.models.pi_tuning.mixture import Mixture
from bebr.models.pi_tuning.positions import image_rows, token_rows

__all__ = ["PADDING", "Network"]

PADDING = 1


class Convolutions(nn.Module):
    """A residual network of three stages: [n, 3, side, side] to [n, 16 channels, side / 16, side / 16]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        read = config.channels
        self.conv1 = nn.Conv2d(3, read, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm(read)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for stage, count in enumerate(config.blocks):
            inner = config.channels * 2**stage
            blocks = [Bottleneck(read, inner, 2 if stage else 1)]
            read = 4 * inner
            blocks += [Bottleneck(read, inner, 1) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.maxpool(relu(self.bn1(self.conv1(pixels))))
        for stage in (1, 2, 3):
            x = getattr(self, f"layer{stage}")(x)
        return x


class Attention(nn.Module):
    """Of several heads, with ``bias`` [1 or n, heads, t, t] added to the scores: [n, t, d] to the same."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(d, d) for _ in range(4))
        self.c_attn = nn.Parameter(torch.ones(heads))

    def forward(self, x: Tensor, bias: Tensor, expert: LayerExpert) -> Tensor:
        n, t, d = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(len(y), -1, self.heads, d // self.heads).transpose(1, 2)

        q, k, v = (split(expert.projected(name, getattr(self, name), x)) for name in ("q_proj", "k_proj", "v_proj"))
        prefix = expert.prefix()
        if prefix is not None:  # more keys and values, at no position
            before = split(prefix)[:, None].expand(-1, n, -1, -1, -1)
            k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
            bias = pad(bias, (before.shape[3], 0))
        y = scaled_dot_product_attention(q, k, v, bias, scale=(2 * d / self.heads) ** -0.5)
        y = (y * self.c_attn[:, None, None]).transpose(1, 2).reshape(n, t, d)
        return expert.projected("out_proj", self.out_proj, y)


class Layer(nn.Module):
    """One layer: [n, t, d] to the same. An expert may change its parts."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(d, heads)
        self.self_attn_layer_norm, self.attn_ln, self.final_layer_norm = (nn.LayerNorm(d) for _ in range(3))
        self.fc1, self.ffn_layernorm, self.fc2 = nn.Linear(d, 4 * d), nn.LayerNorm(4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor, bias: Tensor, expert: LayerExpert) -> Tensor:
        y = self.attn_ln(self.self_attn(self.self_attn_layer_norm(x), bias, expert))
        x = x + expert.adapted("adapter1", y)
        y = self.fc2(self.ffn_layernorm(gelu(self.fc1(self.final_layer_norm(x)))))
        return x + expert.adapted("adapter2", y)


class Network(nn.Module):
    """The encoder, and the expert in it if there is one."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        d = config.width
        self.embed_tokens, self.type_embedding = nn.Embedding(config.vocab_size, d), nn.Embedding(2, d)
        self.embed_images, self.image_proj = Convolutions(config), nn.Linear(16 * config.channels, d)
        self.layernorm_embedding, self.patch_layernorm_embedding = nn.LayerNorm(d), nn.LayerNorm(d)
        self.embed_positions = nn.Embedding(config.context + 2, d)
        self.embed_image_positions = nn.Embedding(config.image_buckets**2 + 1, d)
        self.pos_ln, self.image_pos_ln = nn.LayerNorm(d), nn.LayerNorm(d)
        self.pos_q_linear, self.pos_k_linear = nn.Linear(d, d), nn.Linear(d, d)
        tokens, parts = 2 * config.buckets - 1, (2 * config.image_buckets - 1) ** 2 + 3
        every = range(config.layers)
        self.token_rel_pos_table_list = nn.ModuleList(nn.Embedding(tokens, config.heads) for _ in every)
        self.image_rel_pos_table_list = nn.ModuleList(nn.Embedding(parts, config.heads) for _ in every)
        self.layers = nn.ModuleList(Layer(d, config.heads) for _ in every)
        self.layer_norm = nn.LayerNorm(d)
        self.expert: Expert | Mixture | None = None
        if config.expert:
            self.expert = Expert(config.expert, config.expert_size, d, config.layers)

    def forward(self, pixels: Tensor | None, tokens: Tensor) -> tuple[Tensor, Tensor, int]:
        """Normalised pixels [n, 3, side, side] or None, and int64 [n, t] with ``PADDING`` behind each text's end. To
        states [n, p + t, d], a picture's p parts first; whether each is no padding, bool [n, p + t]; and p."""
        return self.layered(*self.embedded(pixels, tokens))

    def embedded(self, pixels: Tensor | None, tokens: Tensor) -> tuple[Tensor, Tensor, int]:
        """As ``forward``, with what the layers get for the states: no expert changes it. Padding is 0."""
        x = self.layernorm_embedding(self.embed_tokens(tokens) + self.type_embedding.weight[0])
        seen, parts = tokens != PADDING, 0
        if pixels is not None:
            shown = self.image_proj(self.embed_images(pixels).flatten(2).transpose(1, 2))
            shown = self.patch_layernorm_embedding(shown + self.type_embedding.weight[1])
            parts = shown.shape[1]
            x, seen = torch.cat([shown, x], 1), torch.cat([seen.new_ones(shown.shape[:2]), seen], 1)
        return x * seen[..., None], seen, parts

    def layered(self, x: Tensor, seen: Tensor, parts: int) -> tuple[Tensor, Tensor, int]:
        """What ``embedded`` gives through the layers, and the expert in them if there is one."""
        places = self._places(parts, x.shape[1] - parts)
        blind = None if bool(seen.all()) else ~seen[:, None, None]
        for number, layer in enumerate(self.layers):
            bias = self._bias(places, parts, number)[None]
            if blind is not None:
                bias = bias.masked_fill(blind, -torch.inf)
            x = layer(x, bias, NOTHING if self.expert is None else self.expert.layer(number))
        return self.layer_norm(x), seen, parts

    def _places(self, parts: int, count: int) -> Tensor:
        """What positions add to every layer's scores, [heads, p + t, p + t]."""
        config = self.config
        at = self.pos_ln(self.embed_positions.weight[:count])
        if parts:
            across, number = math.isqrt(parts), torch.arange(parts, device=at.device)
            shown = self.embed_image_positions(number // across * config.image_buckets + number % across + 1)
            at = torch.cat([self.image_pos_ln(shown), at])
        projections = (self.pos_q_linear, self.pos_k_linear)
        q, k = (one(at).view(len(at), config.heads, -1).transpose(0, 1) for one in projections)
        return q @ k.transpose(1, 2) * (2 * config.width / config.heads) ** -0.5

    def _bias(self, places: Tensor, parts: int, number: int) -> Tensor:
        """``places`` and the relative positions of one layer: among a picture's parts, and among a text's tokens."""
        config, count = self.config, places.shape[1] - parts
        shown: Any = self.image_rel_pos_table_list[number]
        said: Any = self.token_rel_pos_table_list[number]
        blocks = []
        if parts:
            rows = torch.from_numpy(image_rows(math.isqrt(parts), config.image_buckets)).to(places.device)
            blocks.append(pad(embedding(rows, shown.weight).permute(2, 0, 1), (0, count, 0, count)))
        rows = torch.from_numpy(token_rows(count, config.buckets, config.context)).to(places.device)
        blocks.append(pad(embedding(rows, said.weight).permute(2, 0, 1), (parts, 0, parts, 0)))
        return sum(blocks, places)

    def initialize(self, seed: int) -> None:
        """Fresh weights, the same for every machine: normal, of deviation .02, convolutions of variance
        2 / (outputs x side^2); relative positions 0, norms the identity. Ours: OFA begins with BART and ImageNet."""
        generator = torch.Generator().manual_seed(seed)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                fan = module.weight.shape[0] * module.weight[0, 0].numel()
                module.weight.data.normal_(0, math.sqrt(2 / fan), generator=generator)
            elif isinstance(module, nn.Linear | nn.Embedding):
                module.weight.data.normal_(0, 0.02, generator=generator)
                if isinstance(module, nn.Linear):
                    module.bias.data.zero_()
                elif "rel_pos" in name:
                    module.weight.data.zero_()
