"""Batch normalisation for maps of any number of dimensions, without torch's counter of batches, which nothing reads:
files have it or not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

__all__ = ["BatchNorm"]


class BatchNorm(nn.Module):
    """[n, channels, ...] to the same: by the batch's statistics in training (momentum .1), else by those kept.

    frozen_bias: the bias is no parameter that training changes.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, frozen_bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels), requires_grad=not frozen_bias)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)
