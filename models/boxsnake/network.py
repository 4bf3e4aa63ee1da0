"""The whole network: pyramid, proposals, box head, polygon head; named as in files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bebr.models.boxsnake.backbone import Pyramid
from bebr.models.boxsnake.config import LEVELS, Config
from bebr.models.boxsnake.decoder import Places, PolygonHead
from bebr.models.boxsnake.detector import BoxHead, Found, Proposer, kept

__all__ = ["Network", "initialize"]


class Network(nn.Module):
    """Pixels [n, 3, h, w], sides multiples of 32, by steps: ``maps``, then ``objects`` of one picture, then
    ``outlines``."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = Pyramid(config)
        self.proposal_generator = Proposer(config)
        self.roi_heads = BoxHead(config) if config.classes else nn.Module()
        self.roi_heads.mask_head = PolygonHead(config)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """P2 ... P6."""
        return self.backbone(pixels)

    def objects(self, maps: Sequence[Tensor], row: int, size: tuple[int, int], least: float, most: int) -> Found:
        """Boxes of picture ``row`` (of (rows, columns) pixels before it was filled up) that score above ``least``, at
        most ``most``, best first. Without classes they are the proposals, doubles (over half alike) taken away."""
        found = self.proposal_generator.propose(maps, row, *size)
        if isinstance(self.roi_heads, BoxHead):
            found = self.roi_heads.name(maps, found.boxes, row, size, least)
            rows = torch.arange(len(found.scores), device=found.scores.device)
        else:
            rows = kept(found.boxes, found.scores, 0.5)
            rows = rows[found.scores[rows] > least]
        rows = rows[:most]
        return Found(found.boxes[rows], found.scores[rows], found.classes[rows])

    def outlines(self, maps: Sequence[Tensor], boxes: Tensor, of: Tensor) -> list[Tensor]:
        """Polygons [n, vertices, 2] in pixels after each layer, for ``boxes`` [n, 4] of pictures ``of`` [n]."""
        return self.roi_heads.mask_head(maps[:LEVELS], boxes, of)


def initialize(network: Network, seed: int) -> None:
    """Weights to begin with: He's normal ones before ReLUs, Glorot's in the decoder, small ones for what decides. The
    last layers that move vertices are 0: before training, polygons are ellipses."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, one in network.named_modules():
            decoder = ".mask_head." in name
            if isinstance(one, (nn.Conv2d, nn.Linear)):
                shape = one.weight[0].numel()
                if decoder or "fpn_" in name:
                    spread = math.sqrt(2 / (shape + one.weight.shape[0] * one.weight[0, 0].numel()))
                else:
                    spread = math.sqrt(2 / shape)
                one.weight.normal_(0, spread, generator=generator)
                if one.bias is not None:
                    one.bias.zero_()
            elif isinstance(one, nn.MultiheadAttention):
                one.in_proj_weight.normal_(0, math.sqrt(1 / (2 * one.embed_dim)), generator=generator)
                one.in_proj_bias.zero_()
            elif isinstance(one, nn.Embedding):
                one.weight.normal_(0, 1, generator=generator)
        for name in ("objectness_logits", "anchor_deltas"):
            network.proposal_generator.rpn_head[name].weight.normal_(0, 0.01, generator=generator)
        for one in network.modules():
            if isinstance(one, Places):
                _around(one)
        for one in network.roi_heads.mask_head.xy_embed:
            one.layers[-1].weight.zero_()


def _around(attention: Places) -> None:
    """Each head looks in a direction of its own, 1, 2, ... cells away; all places count the same."""
    turn = 2 * math.pi * torch.arange(attention.heads) / attention.heads
    way = torch.stack([turn.cos(), turn.sin()], 1)
    way = way / way.abs().amax(1, keepdim=True)
    steps = torch.arange(1, attention.count + 1)[:, None]
    attention.sampling_offsets.weight.zero_()
    attention.sampling_offsets.bias.copy_((way[:, None, None] * steps).expand(-1, LEVELS, -1, -1).reshape(-1))
    attention.attention_weights.weight.zero_()
