"""What the training loops share: batches of rows, a learning rate's course, weight decay, pixels as targets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["Descent", "batches", "clock_of", "parameter_groups", "patch_pixels", "rate", "training"]


def batches(count: int, size: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Batches of different rows, every row once before any comes again; the rest of a round is left out."""
    while True:
        order = random.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


def rate(step: int, steps: int, warmup: float = 0.0, fall: Literal["cosine", "linear", "none"] = "cosine") -> float:
    """The share of the highest learning rate: it rises linearly for the share ``warmup`` of all steps, then falls to 0
    as a cosine or linearly, or stays."""
    rising = round(steps * warmup)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "none": 1.0}[fall]


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


@contextmanager
def training(producer: Any, seed: int | None = None) -> Iterator[None]:
    """The producer's network in training mode; at the end it takes up its new weights (``refresh``).

    seed: dropout is drawn from it, and the caller's random numbers are left alone; None: from the caller's.
    """
    import torch

    with ExitStack() as stack:
        if seed is not None:
            cuda = [torch.device(producer.device)] if producer.device.startswith("cuda") else []
            stack.enter_context(torch.random.fork_rng(devices=cuda))
            torch.manual_seed(seed)
        producer.network.train()
        try:
            yield
        finally:
            producer.refresh()


class Descent:
    """An optimizer whose rate is set before each step: ``descend(loss, share)`` takes ``share`` of each group's own.

    clip: the most that the norm of all gradients may be; None: any.
    """

    def __init__(self, optimizer: Optimizer, clip: float | None = None) -> None:
        self.optimizer, self._clip = optimizer, clip
        self._rates = [group["lr"] for group in optimizer.param_groups]

    def __call__(self, loss: Tensor, share: float) -> float:
        """One step down ``loss``, which is returned."""
        from torch.nn.utils import clip_grad_norm_

        for group, full in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = share * full
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._clip is not None:
            clip_grad_norm_([one for group in self.optimizer.param_groups for one in group["params"]], self._clip)
        self.optimizer.step()
        return float(loss.detach())


def clock_of(device: str) -> Callable[[], float]:
    """CPU seconds on the CPU, elapsed ones elsewhere."""
    return time.process_time if device == "cpu" else time.perf_counter
