"""What a binarizer's tensors make: the layers of its networks, its input adapters and its decoders."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bebr import core
from bebr.arrays import Floats, normalized
from bebr.binarizer.config import BinarizerConfig

Layers = list[tuple[Floats, Floats]]
"""Weight [out, in] and bias [out] of each."""


class Parts:
    """The tensors of a model, by name, read as its configuration says. Errors name the tensor at fault."""

    def __init__(self, tensors: Mapping[str, Floats], settings: BinarizerConfig) -> None:
        self._tensors, self._settings = tensors, settings

    def stack(self, prefix: str) -> Layers:
        """The layers under a prefix; ``ValueError`` where there is none."""
        layers: Layers = []
        while (weight := self._tensors.get(f"{prefix}.{len(layers)}.weight")) is not None:
            bias = self._tensors.get(f"{prefix}.{len(layers)}.bias")
            layers.append((weight, np.zeros(len(weight), np.float32) if bias is None else bias))
        if not layers:
            raise ValueError(f"tensor {prefix}.0.weight is missing")
        return layers

    def encoder(self) -> list[Layers]:
        """The encoder's networks, in the order in which ``core.Encoder`` takes them."""
        stacks = [self.stack("encoder")]
        if self._settings.architecture == "recurrent":
            for t in range(len(self._settings.widths) - 1):
                stacks += [self.stack(f"reconstruct.{t}"), self.stack(f"residual.{t}")]
        return stacks

    def adapter(self, name: str, inputs: int) -> Adapter | None:
        """The input adapter of this name, which takes ``inputs`` dimensions, if there is one."""
        if self._settings.entries.get(name) is None:
            return None
        network, skip = core.Network(self.stack(name), name), self._settings.skip(name)
        if network.input_dim != inputs:
            raise ValueError(f"{name}.0.weight takes {network.input_dim} inputs: want {inputs}")
        if skip and network.input_dim != network.output_dim:
            raise ValueError(f"{name} has a skip and maps {inputs} to {network.output_dim} dimensions: want equal ones")
        return Adapter(network, skip, self._settings.metric == "cosine")

    def decoder(self, prefix: str, widths: list[int], output_dim: int) -> core.Decoder | None:
        """The decoder of this name from planes of these widths to ``output_dim`` dimensions, if there is one."""
        weight = self._tensors.get(f"{prefix}.weight")
        if weight is None:
            return None
        bias = self._tensors.get(f"{prefix}.bias", np.zeros(output_dim, np.float32))
        wanted = (self._settings.dims, output_dim)
        if weight.shape != wanted or bias.shape != (output_dim,):
            raise ValueError(f"{prefix}.weight has shape {weight.shape}: want {wanted}")
        return core.Decoder(weight, bias, widths)


class Adapter:
    """x -> skip x + network(x), a map before everything else; for cosine from and to unit length."""

    def __init__(self, network: core.Network, skip: float, unit: bool) -> None:
        self.network, self.skip, self._unit = network, skip, unit

    @property
    def output_dim(self) -> int:
        return self.network.output_dim

    def __call__(self, x: Floats) -> Floats:
        """float32[n, d] -> float32[n, output_dim]."""
        if self._unit:
            x = normalized(x)
        inner = self.network.forward(x)
        if self.skip:
            inner += np.float32(self.skip) * x
        return normalized(inner) if self._unit else inner
