"""A2MC's encoder, which is SCD-Net's: two streams over one clip, one vector from each."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bebr.models.a2mc.config import Config
from bebr.models.a2mc.graph import GraphNetwork

__all__ = ["Network", "initialize"]


def _channel(read: int, d: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(read, d), nn.LayerNorm(d), nn.ReLU(), nn.Linear(d, d))


def _attention(d: int, heads: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(d, heads, d, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


class Network(nn.Module):
    """Clips [n, persons, frames, joints, 3] to two vectors [n, width]; parameters bear the names of checkpoints.

    v_t: the first graph network's frames, each a token of all bodies' joints, through a transformer layer, the largest
    over time. v_s: the second's joints, each a token of all frames, likewise, the largest over joints. No positions
    are added. Dropout, if there was any, is not known to us: there is none.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        d, tokens = config.width, config.persons * config.graph.joints
        self.gcn_t, self.gcn_s = GraphNetwork(config), GraphNetwork(config)
        self.channel_t = _channel(tokens * config.last, d)
        self.channel_s = _channel(config.frames * config.last, d)
        self.t_encoder, self.s_encoder = (_attention(d, config.heads) for _ in range(2))

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        x = self.gcn_t(clips)  # [n, m, c, t, v]
        frames = x.permute(0, 3, 1, 4, 2).flatten(2)  # [n, t, m v c]
        x = self.gcn_s(clips)
        joints = x.permute(0, 1, 4, 3, 2).flatten(3).flatten(1, 2)  # [n, m v, t c]
        timed = self.t_encoder(self.channel_t(frames)).amax(1)
        placed = self.s_encoder(self.channel_s(joints)).amax(1)
        return timed, placed


def initialize(module: nn.Module, seed: int) -> None:
    """Fresh weights, the same for every machine: Xavier uniform matrices, convolutions normal by what they give (He),
    no biases; graphs begin as the skeleton's."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data.normal_(0, math.sqrt(2 / part.weight[:, 0].numel()), generator=generator)
        elif isinstance(part, nn.Linear | nn.MultiheadAttention):
            weight = part.weight if isinstance(part, nn.Linear) else part.in_proj_weight
            bound = math.sqrt(6 / sum(weight.shape))
            weight.data.uniform_(-bound, bound, generator=generator)
        if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
            part.bias.data.zero_()
