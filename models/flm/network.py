"""FLM's network (arXiv 2303.14038, section 3): two streams with the same weights, and a reconstructor beside them.

The streams go through RoBERTa's layers, get the type of their direction, and go through layers that look at the picture
too. The reconstructor asks their states layer by layer; it has no self-attention, so a query learns of the text only
what ``masks.reconstructor`` lets it see. Parameters bear the names of checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from bebr.models import bert
from bebr.models.flm import masks
from bebr.models.flm.config import Config
from bebr.models.flm.vision import Vision

__all__ = ["Marks", "Network", "Reading"]

_PADDING = 1  # RoBERTa's
_TEXT_EPS, _CROSS_EPS = 1e-5, 1e-12  # of RoBERTa-base, and of the layers added to it


@dataclass(frozen=True)
class Marks:
    """Ids of the marks that the network sets itself."""

    begin: int
    end: int
    mask: int
    padding: int = _PADDING


@dataclass(frozen=True)
class Reading:
    """Texts on their way: ``states`` [n, 2t, d] of both streams, ``queries`` [n, t, d], ``real`` bool [n, t] and what
    may be seen, bool [n, 1, 2t, 2t] and [n, 1, t, 2t]."""

    states: Tensor
    queries: Tensor
    real: Tensor
    streams: Tensor
    seen: Tensor

    def repeated(self, count: int) -> Reading:
        """Each text ``count`` times, one after the other."""
        return Reading(*(part.repeat_interleave(count, 0) for part in vars(self).values()))


class CrossLayer(bert.FeedForward):
    """Attention within x where ``within``, then to a memory, then a perceptron; post-LN all three."""

    def __init__(self, config: Config, within: bool) -> None:
        d = config.width
        super().__init__(d, 4 * d, _CROSS_EPS, config.dropout)
        shape = (d, config.heads, _CROSS_EPS, config.dropout, config.dropout)
        if within:
            self.attention = bert.attending(*shape)
        self.within = within
        self.crossattention = bert.attending(*shape)

    def forward(self, x: Tensor, memory: Tensor, seen: Tensor | None, inner: Tensor | None = None) -> Tensor:
        """x [n, t, d], memory [n, s, d]; ``seen`` of the memory and ``inner`` of x itself, both as ``Attention``'s."""
        if self.within:
            x = self.attention["output"](self.attention["self"](x, inner), x)
        return self.feed(self.crossattention["output"](self.crossattention["self"](x, seen, memory), x))


class Network(nn.Module):
    """Texts are int64 [n, t], padded with 1 behind their end mark; pictures are what ``vit_model.visual`` makes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        d, dropout = config.width, config.dropout
        self.vit_model = nn.ModuleDict({"visual": Vision(config)})
        layers = [bert.Layer(d, config.heads, 4 * d, _TEXT_EPS, dropout, dropout) for _ in range(config.layers)]
        embeddings = bert.Embeddings(
            config.vocab_size, config.positions, 1, d, _TEXT_EPS, _PADDING, counted=True, dropout=dropout
        )
        self.text_transformer = nn.ModuleDict(
            {"embeddings": embeddings, "encoder": nn.ModuleDict({"layer": nn.ModuleList(layers)})}
        )
        self.fusion_layers_bottom = nn.ModuleList(CrossLayer(config, False) for _ in range(config.layers))
        self.cross_modal_text_transform = nn.Linear(d, d)
        self.cross_modal_image_transform = nn.Linear(d, d)
        self.token_type_embeddings = nn.Embedding(2, d)
        self.token_type_embeddings_flm = nn.Embedding(2, d)
        self.cross_modal_text_layers = nn.ModuleList(CrossLayer(config, True) for _ in range(config.cross_layers))
        self.fusion_layers_top = nn.ModuleList(CrossLayer(config, False) for _ in range(config.cross_layers))
        self.cross_modal_text_pooler_f = nn.ModuleDict({"dense": nn.Linear(d, d)})
        self.lm_score = Words(d, config.vocab_size)
        if config.ranked:
            self.rank_output = nn.Linear(d, 1)
        if config.projected:
            self.image_projection = nn.Parameter(torch.zeros(d, d))
            self.text_projection = nn.Parameter(torch.zeros(d, d))
            self.logit_scale = nn.Parameter(torch.zeros(()))

    def picture(self, pixels: Tensor) -> Tensor:
        """The class token and all patches, [n, 1 + patches, d], of normalised pixels [n, 3, side, side]."""
        return self.vit_model["visual"](pixels)

    def read(self, tokens: Tensor, marks: Marks, hidden: tuple[Tensor, Tensor] | None = None) -> Reading:
        """Both streams and the queries after the layers that see the text alone; ``hidden`` is of ``masks.spans``.

        A query starts from the mark for a hidden token at its place; the first from the mark for the beginning and the
        last from that for the end, as published: so the end is no token to be foretold.
        """
        real = tokens != marks.padding
        seen, streams = masks.reconstructor(real, hidden)[:, None], masks.streams(real)[:, None]
        kept = (tokens == marks.end) | ~real
        kept[:, 0] = True
        embed = self.text_transformer["embeddings"]
        x = embed(tokens, real.long())
        states = torch.cat([x, x], 1)
        queries = embed(torch.where(kept, tokens, marks.mask), real.long())
        for layer, fusion in zip(self.text_transformer["encoder"]["layer"], self.fusion_layers_bottom, strict=True):
            states = layer(states, streams)
            queries = fusion(queries, states, seen)
        return Reading(states, queries, real, streams, seen)

    def look(self, reading: Reading, picture: Tensor) -> Reading:
        """The same after the layers that see the picture too."""
        t = reading.real.shape[1]
        types, ours = self.token_type_embeddings.weight, self.token_type_embeddings_flm.weight
        direction = torch.stack([types[0], ours[0]]).repeat_interleave(t, 0)
        states = self.cross_modal_text_transform(reading.states) + direction
        queries = self.cross_modal_text_transform(reading.queries) + ours[1]
        image = self.cross_modal_image_transform(picture) + types[1]
        for layer, fusion in zip(self.cross_modal_text_layers, self.fusion_layers_top, strict=True):
            states = layer(states, image, None, reading.streams)
            queries = fusion(queries, states, reading.seen)
        return Reading(states, queries, reading.real, reading.streams, reading.seen)

    def pair(self, seen: Reading) -> Tensor:
        """Vectors of pairs, [n, d], of what ``look`` gave: tanh(W q + b) of the first query, which sees all states."""
        return torch.tanh(self.cross_modal_text_pooler_f["dense"](seen.queries[:, 0]))

    def bidirectional(self, tokens: Tensor, picture: Tensor) -> Tensor:
        """One stream in which every token sees every other, [n, t, d]: what masked language modelling trains."""
        real = tokens != _PADDING
        allowed = real[:, None, None, :]
        x = self.text_transformer["embeddings"](tokens, real.long())
        for layer in self.text_transformer["encoder"]["layer"]:
            x = layer(x, allowed)
        x = self.cross_modal_text_transform(x) + self.token_type_embeddings.weight[0]
        image = self.cross_modal_image_transform(picture) + self.token_type_embeddings.weight[1]
        for layer in self.cross_modal_text_layers:
            x = layer(x, image, None, allowed)
        return x

    def initialize(self, seed: int) -> None:
        """Fresh weights, the same for every machine: normal of deviation .02, biases 0, norms 1, as BERT starts;
        projections the identity, so that they start as if they were not there."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d):
                module.weight.data.normal_(0, 0.02, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.data.zero_()
        for name, parameter in self.named_parameters():
            if name.endswith(("class_embedding", "positional_embedding", "in_proj_weight")):
                parameter.data.normal_(0, 0.02, generator=generator)
            if name.endswith("_projection"):
                parameter.data.copy_(torch.eye(self.config.width))
        if self.config.projected:
            self.logit_scale.data.fill_(2.6593)  # log(1 / .07), CLIP's


class Words(nn.Module):
    """Logits over the vocabulary: a dense layer, GELU, a norm and a linear map, [..., d] to [..., words]."""

    def __init__(self, d: int, words: int) -> None:
        super().__init__()
        self.transform = nn.ModuleDict({"dense": nn.Linear(d, d), "LayerNorm": nn.LayerNorm(d, _CROSS_EPS)})
        self.decoder = nn.Linear(d, words, bias=False)
        self.bias = nn.Parameter(torch.zeros(words))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.transform["LayerNorm"](gelu(self.transform["dense"](x)))) + self.bias
