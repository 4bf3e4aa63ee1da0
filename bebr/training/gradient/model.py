"""The recurrent network of the paper (arXiv 2302.08714) in torch, and its export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bebr.arrays import Floats

LENGTH_FLOOR = 1e-12  # of a reconstruction, before it is divided by its length


class StraightThroughSign(torch.autograd.Function):  # type: ignore[misc]
    """sgn with sgn(0) = +1; the gradient passes where |z| <= 1 and is zero elsewhere."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return torch.where(z >= 0, torch.ones_like(z), -torch.ones_like(z))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return torch.where(z.abs() <= 1, grad, torch.zeros_like(grad))


def sign(z: Tensor) -> Tensor:
    """Straight-through sign of ``z``, same shape."""
    return StraightThroughSign.apply(z)


def block(inputs: int, outputs: int, hidden: int, blocks: int) -> nn.Sequential:
    """``blocks`` x (Linear, BatchNorm, ReLU), then Linear; one Linear if there is no hidden layer. Xavier-normal, zero
    bias.
    """
    layers: list[nn.Module] = []
    width = inputs
    for _ in range(blocks if hidden else 0):
        layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        width = hidden
    layers.append(nn.Linear(width, outputs))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class RecurrentNetwork(nn.Module):  # type: ignore[misc]
    """Unit vectors float32[n, d] -> code values float32[n, m]: v_j = sum_t 2^-t r_tj, differentiable straight
    through.
    """

    def __init__(self, input_dim: int, widths: Sequence[int], hidden: int, blocks: int) -> None:
        super().__init__()
        self.widths = tuple(widths)
        dims = self.widths[0]
        self.encoder = block(input_dim, dims, hidden, blocks)
        self.reconstruct = nn.ModuleList(block(dims, input_dim, hidden, blocks) for _ in self.widths[1:])
        self.residual = nn.ModuleList(block(input_dim, width, hidden, blocks) for width in self.widths[1:])

    def remainder(self, x: Tensor, v: Tensor, step: int) -> Tensor:
        """What the code so far ``v`` misses of ``x``: x - R_step(v) / ||R_step(v)||."""
        return x - functional.normalize(self.reconstruct[step](v), dim=1, eps=LENGTH_FLOOR)

    def refined(self, x: Tensor, v: Tensor, step: int) -> Tensor:
        """``v`` with plane ``step + 1`` added."""
        r = sign(self.residual[step](self.remainder(x, v, step)))
        return v + functional.pad(r * 2.0 ** -(step + 1), (0, self.widths[0] - self.widths[step + 1]))

    def forward(self, x: Tensor) -> Tensor:
        v = sign(self.encoder(x))
        for step in range(len(self.widths) - 1):
            v = self.refined(x, v, step)
        return v

    def tensors(self) -> dict[str, Floats]:
        """Weights under the names of :meth:`bebr.Binarizer.from_tensors`, BatchNorm folded in."""
        named: dict[str, Floats] = {}
        stacks = {"encoder": self.encoder}
        stacks |= {f"reconstruct.{t}": stack for t, stack in enumerate(self.reconstruct)}
        stacks |= {f"residual.{t}": stack for t, stack in enumerate(self.residual)}
        for name, stack in stacks.items():
            for i, (weight, bias) in enumerate(folded(stack)):
                named[f"{name}.{i}.weight"], named[f"{name}.{i}.bias"] = weight, bias
        return named


def folded(stack: nn.Sequential) -> list[tuple[Floats, Floats]]:
    """(weight, bias) of each affine layer, with the BatchNorm behind it folded in, in float64 and then rounded once."""
    layers: list[tuple[Any, Any]] = []
    for layer in stack:
        if isinstance(layer, nn.Linear):
            layers.append((layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()))
        elif isinstance(layer, nn.BatchNorm1d):
            scale = layer.weight.detach().double() / torch.sqrt(layer.running_var.double() + layer.eps)
            shift = layer.bias.detach().double() - layer.running_mean.double() * scale
            weight, bias = layers[-1]
            layers[-1] = weight * scale.numpy()[:, None], bias * scale.numpy() + shift.numpy()
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers]
