"""What the training loops share: batches of rows, a learning rate's course, weight decay, pixels as targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["batches", "parameter_groups", "patch_pixels", "rate"]


def batches(count: int, size: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Batches of different rows, every row once before any comes again; the rest of a round is left out."""
    while True:
        order = random.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


def rate(step: int, steps: int, warmup: float) -> float:
    """The share of the highest learning rate: it rises linearly for the share ``warmup`` of all steps, then falls as a
    cosine to 0."""
    rising = round(steps * warmup)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def parameter_groups(module: nn.Module, decay: float) -> list[dict[str, Any]]:
    """For AdamW: weight decay for matrices; none for biases, norms, tokens and scales."""
    parameters = [one for one in module.parameters() if one.requires_grad]
    matrices = [one for one in parameters if one.ndim in (2, 4)]
    others = [one for one in parameters if one.ndim not in (2, 4)]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def patch_pixels(pixels: Tensor, size: int) -> Tensor:
    """Each patch's pixels with mean 0 and variance 1, [n, patches, 3 size^2]: MAE's better target (He et al. 2022)."""
    n, _, side, _ = pixels.shape
    cut = (
        pixels.view(n, 3, side // size, size, side // size, size).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, 3 * size**2)
    )
    variance, mean = cut.var(2, keepdim=True), cut.mean(2, keepdim=True)
    return (cut - mean) / (variance + 1e-6).sqrt()
