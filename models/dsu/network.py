"""A residual network over pictures: its pooled features, and behind them a norm where the config has a neck."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bebr.models.dsu.adaptation import Adaptation
from bebr.models.dsu.config import Config
from bebr.models.dsu.layers import Basic, Bottleneck
from bebr.models.norm import BatchNorm

__all__ = ["Network"]


class Network(nn.Module):
    """Normalised pixels [n, 3, height, width] to [n, dim]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        block = Bottleneck if config.expansion == 4 else Basic
        self.conv1 = nn.Conv2d(3, config.channels, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm(config.channels)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        read = config.channels
        for stage, count in enumerate(config.blocks):
            inner = config.channels * 2**stage
            blocks = [block(read, inner, config.strides[stage])]
            read = inner * config.expansion
            blocks += [block(read, inner, 1) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        if config.neck:
            self.BN = BatchNorm(config.dim, frozen_bias=True)
        if config.adapted:
            self.adaptation = Adaptation(config.place_channels)

    @property
    def places(self) -> list[nn.Module]:
        """Where the paper draws statistics anew: behind conv1 (before its norm), maxpool and each of the layers."""
        return [self.conv1, self.maxpool, *(getattr(self, f"layer{stage}") for stage in (1, 2, 3, 4))]

    def pooled(self, pixels: Tensor) -> Tensor:
        """The mean over the last maps, [n, dim]."""
        x = pixels
        for number, place in enumerate(self.places):
            x = place(x)
            if self.config.adapted:
                x = self.adaptation(x, number)
            if number == 0:
                x = relu(self.bn1(x))
        return x.mean((2, 3))

    def necked(self, features: Tensor) -> Tensor:
        """Pooled features [n, dim] through the norm, where there is one."""
        return self.BN(features) if self.config.neck else features

    def forward(self, pixels: Tensor) -> Tensor:
        return self.necked(self.pooled(pixels))

    def initialize(self, seed: int) -> None:
        """Fresh weights, the same for every machine: convolutions normal, of variance 2 / (outputs x side^2), as
        residual networks start; norms are the identity."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan = module.weight.shape[0] * module.weight[0, 0].numel()
                module.weight.data.normal_(0, math.sqrt(2 / fan), generator=generator)
