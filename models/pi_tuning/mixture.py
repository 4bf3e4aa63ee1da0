"""Experts interpolated (arXiv 2304.14381, section 3.3), and the one expert that computes the same.

Shares are softmax(alpha), alpha of its own for each place: both adapters of a layer, a layer's attention, or its
prefix. An adapter's two maps are mixed on either side of its relu:
W_down = sum w_i W_down_i, W_up = sum w_i W_up_i, so one adapter with the mixed weights is the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bebr.models.pi_tuning.experts import Expert, LayerExpert

__all__ = ["Mixture"]


class _Layer(LayerExpert):
    """One layer of all members: ``shares()`` gives [places, members]. No module, or the members would be in twice."""

    def __init__(self, members: Sequence[Any], shares: Callable[[], Tensor]) -> None:
        self.members, self.shares = members, shares

    def mixed(self, place: int, parts: Sequence[Tensor]) -> Tensor:
        """The members' ``parts`` under the shares of a place."""
        return torch.stack([share * part for share, part in zip(self.shares()[place], parts, strict=True)]).sum(0)


class _Adapters(_Layer):
    def adapted(self, place: str, x: Tensor) -> Tensor:
        number = ("adapter1", "adapter2").index(place)
        parts = [getattr(one, place) for one in self.members]
        inner = relu(self.mixed(number, [part["down_proj"](x) for part in parts]))
        return x + self.mixed(number, [part["up_proj"](inner) for part in parts])


class _Loras(_Layer):
    def projected(self, place: str, projection: nn.Linear, x: Tensor) -> Tensor:
        return self.mixed(0, [one.projected(place, projection, x) for one in self.members])


class _Prefixes(_Layer):
    def prefix(self) -> Tensor | None:
        return self.mixed(0, [one.prompt for one in self.members])


_LAYERS: dict[str, tuple[type[_Layer], int]] = {
    "adapter": (_Adapters, 2),
    "lora": (_Loras, 1),
    "prefix": (_Prefixes, 1),
}


class Mixture(nn.Module):
    """Copies of several experts of one shape, and their shares, to be trained together; ``merged`` ends it.

    alpha: where every place's shares begin, one number an expert; None: equal. ValueError for no expert, for shapes
    that differ, or another number of them.
    """

    def __init__(self, experts: Sequence[Expert], alpha: Sequence[float] | None = None) -> None:
        super().__init__()
        shapes = [one.shape for one in experts]
        if not shapes or len(set(shapes)) > 1:
            raise ValueError(f"experts: got shapes {shapes}, wanted one or more of the same kind, size and trunk")
        if alpha is not None and len(alpha) != len(experts):
            raise ValueError(f"alpha: got {len(alpha)}, wanted one for each of {len(experts)} experts")
        self.kind, self.size, self.width, layers = shapes[0]
        self.members = nn.ModuleList(deepcopy(one) for one in experts)
        self._layer, places = _LAYERS[self.kind]
        begin = torch.ones(len(experts)) if alpha is None else torch.tensor(list(alpha), dtype=torch.float32)
        self.alpha = nn.Parameter(begin.repeat(layers, places, 1))

    def layer(self, number: int) -> LayerExpert:
        """What it does in that layer."""
        members: Any = self.members
        return self._layer([one.layers[number] for one in members], lambda: self.alpha[number].softmax(1))

    def merged(self) -> Expert:
        """One expert that computes the same, at one expert's cost. Merged LoRA has the ranks' sum for its rank, which
        costs nothing once it is part of the weights (``PiTuning.with_expert``)."""
        shares = self.alpha.detach().double().softmax(2)
        states = [one.state_dict() for one in self.members]
        count, size = len(states), self.size
        state: dict[str, Tensor] = {}
        for key in states[0]:
            parts = [one[key].double() for one in states]
            weights = shares[int(key.split(".")[1]), int(".adapter2." in key)]
            if key.endswith("lora_A"):
                state[key] = torch.cat(parts)
            elif key.endswith("lora_B"):  # times the number: the sum is divided by the new rank
                state[key] = torch.cat([count * w * part for w, part in zip(weights, parts, strict=True)], 1)
            else:
                state[key] = torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum(0)
        if self.kind == "lora":
            size *= count
        return Expert.of(state, self.kind, size, self.width, len(self.alpha))
