"""Starting the recurrent network from the closed form.

One plane starts as exactly the closed form's code. With more planes that cannot be had: the paper scales a
reconstruction to unit length, so no R_t gives the closed form's own mu + A v. Instead R_t starts as the least-squares
decoder of the code so far, and W_t+1 as the least-squares map from the remainder x - R_t(v)/||R_t(v)|| to what the
closed form would code next, z - v.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bebr.arrays import Floats
from bebr.training.gradient.model import RecurrentNetwork
from bebr.training.linear.closed_form import ClosedForm, ridge
from bebr.training.linear.grid import quantize


class ClosedFormCode(nn.Module):  # type: ignore[misc]
    """The closed form in the network's place, to compare with: unit vectors float32[n, d] -> code values [n, m]."""

    def __init__(self, form: ClosedForm, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.weight = form.encoder.T.astype(np.float32)
        self.bias = form.bias.astype(np.float32)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(quantize(x.numpy() @ self.weight + self.bias, self.widths))


def start_from_closed_form(network: RecurrentNetwork, form: ClosedForm, x: Floats) -> None:
    """Set the weights of ``network``. x: float32[n, d], unit vectors to fit on. Leaves the network in evaluation
    mode.
    """
    network.eval()
    vectors = torch.from_numpy(x)
    with torch.no_grad():
        set_linear(network.encoder, form.encoder, form.bias, vectors)
        z = vectors @ torch.from_numpy(form.encoder.astype(np.float32)).T + torch.from_numpy(
            form.bias.astype(np.float32)
        )
        v = torch.where(z >= 0, 1.0, -1.0)
        for step, width in enumerate(network.widths[1:]):
            decoder, mean = ridge(v.numpy(), x)
            set_linear(network.reconstruct[step], decoder.T, mean, v)
            remainder = network.remainder(vectors, v, step)
            weight, bias = ridge(remainder.numpy(), (z - v)[:, :width].numpy())
            set_linear(network.residual[step], weight.T, bias, remainder)
            v = network.refined(vectors, v, step)


def set_linear(stack: nn.Sequential, weight: NDArray[Any], bias: NDArray[Any], inputs: Tensor) -> None:
    """Make ``stack`` compute weight @ x + bias, through ReLUs if it has any: relu(a) - relu(-a) = a.

    The hidden units that this does not need keep their random weights and start with none in the last layer. BatchNorm
    starts as the identity in evaluation, from its statistics over ``inputs``. ValueError when the hidden layer is too
    narrow.
    """
    w = torch.from_numpy(np.ascontiguousarray(weight, np.float32))
    b = torch.from_numpy(np.ascontiguousarray(bias, np.float32))
    linears = [layer for layer in stack if isinstance(layer, nn.Linear)]
    last = linears[-1]
    if len(linears) == 1:
        last.weight.copy_(w)
        last.bias.copy_(b)
        return
    few_outputs = len(w) <= w.shape[1]
    carried = 2 * min(w.shape)  # signed pairs of outputs or of inputs, whichever are fewer
    if linears[0].out_features < carried:
        raise ValueError(f"hidden is {linears[0].out_features}: want at least {carried} to start from the closed form")
    carry = w if few_outputs else torch.eye(w.shape[1])
    linears[0].weight[:carried] = torch.cat([carry, -carry])
    for linear in linears[1:-1]:
        linear.weight[:carried] = 0
        linear.weight[:carried, :carried] = torch.eye(carried)
    leave = torch.eye(len(w)) if few_outputs else w
    last.weight.zero_()
    last.weight[:, :carried] = torch.cat([leave, -leave], dim=1)
    last.bias.copy_(b)
    activations = inputs
    for layer in stack:
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.copy_(activations.mean(dim=0))
            layer.running_var.copy_(activations.var(dim=0))
            layer.weight.copy_(torch.sqrt(layer.running_var + layer.eps))
            layer.bias.copy_(layer.running_mean)
        activations = layer(activations)
