"""Statistics of a picture of unknown style, drawn back towards those of the training pictures. All of it is ours.

arXiv 2301.06442 adapts each instance at test; its equations and code are not known to us, and this stands in for them.
At every place the training pictures' mu and sigma have a middle and a spread. How far a picture is from them is the
root mean square, over channels, of (value - middle) / spread: about 1 for a training picture. One that is farther than
``reach`` is drawn back along the straight line to that distance; a nearer one is left as it is. What a picture becomes
does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bebr.models.dsu.perturbation import restyled, statistics

__all__ = ["Adaptation", "measured"]

_LEAST = 1e-6


def measured(means: Tensor, deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Middles and spreads, both [2, channels], of the training pictures' means and deviations at a place, both [n,
    channels], n at least 2."""
    both = torch.stack([means, deviations])
    return both.mean(1), both.std(1).clamp(min=_LEAST)


class Adaptation(nn.Module):
    """``middles[place]`` and ``spreads[place]`` are [2, channels]: of means, of deviations."""

    reach: Tensor

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("reach", torch.ones(()))
        self.middles, self.spreads = (
            nn.ParameterList(nn.Parameter(torch.ones(2, one), requires_grad=False) for one in channels)
            for _ in range(2)
        )

    def forward(self, x: Tensor, place: int) -> Tensor:
        """x [n, channels, height, width] behind a place, to the same."""
        if x[0, 0].numel() == 1:  # has no deviation
            return x
        own = statistics(x)
        away = torch.stack(own, 1) - self.middles[place]  # [n, 2, channels]
        far = (away / self.spreads[place]).square().mean(2, keepdim=True).sqrt()
        near = self.middles[place] + away * (self.reach / far.clamp(min=_LEAST)).clamp(max=1)
        return restyled(x, own, (near[:, 0], near[:, 1]))
