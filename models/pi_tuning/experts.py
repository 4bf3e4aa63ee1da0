"""The three kinds of expert that a trunk takes, parameters named as in published files.

adapter  behind the attention's norm and behind the feed-forward part, before either is added:
         x + W_up relu(W_down x + b_down) + b_up
lora     in the projections of queries, keys, values and the output: W x + B A x / rank
prefix   more keys and values for every layer, the same whatever the input is

Dropout within adapters is left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from bebr.models.pi_tuning.config import KINDS, expert_manifest

__all__ = ["NOTHING", "AdapterLayer", "Expert", "LayerExpert", "LoraLayer", "PrefixLayer"]


class LayerExpert:
    """What an expert does in one layer. This one does nothing; each kind says one thing otherwise."""

    def adapted(self, place: str, x: Tensor) -> Tensor:
        """A branch [n, t, d] before it is added, at ``adapter1`` (attention) or ``adapter2`` (feed-forward)."""
        return x

    def projected(self, place: str, projection: nn.Linear, x: Tensor) -> Tensor:
        """``projection(x)`` at ``q_proj``, ``k_proj``, ``v_proj`` or ``out_proj``."""
        return projection(x)

    def prefix(self) -> Tensor | None:
        """Keys and values [2, length, d] before those of the input."""
        return None


NOTHING = LayerExpert()


class AdapterLayer(LayerExpert, nn.Module):
    """Two adapters of one inner width."""

    def __init__(self, d: int, size: int) -> None:
        super().__init__()
        for place in ("adapter1", "adapter2"):
            self.add_module(place, nn.ModuleDict({"down_proj": nn.Linear(d, size), "up_proj": nn.Linear(size, d)}))

    def adapted(self, place: str, x: Tensor) -> Tensor:
        part = getattr(self, place)
        return x + part["up_proj"](relu(part["down_proj"](x)))


class _Pair(nn.Module):
    """A [rank, d] and B [d, rank]."""

    def __init__(self, d: int, rank: int) -> None:
        super().__init__()
        self.lora_A, self.lora_B = nn.Parameter(torch.zeros(rank, d)), nn.Parameter(torch.zeros(d, rank))


class LoraLayer(LayerExpert, nn.Module):
    """A product of rank ``size`` beside each of four projections."""

    def __init__(self, d: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.self_attn = nn.ModuleDict({name: _Pair(d, size) for name in ("q_proj", "k_proj", "v_proj", "out_proj")})

    def projected(self, place: str, projection: nn.Linear, x: Tensor) -> Tensor:
        pair: Any = self.self_attn[place]
        return projection(x) + linear(linear(x, pair.lora_A), pair.lora_B) / self.size

    def change(self, place: str) -> Tensor:
        """What it adds to the projection's weights, [d, d]."""
        pair: Any = self.self_attn[place]
        return pair.lora_B @ pair.lora_A / self.size


class PrefixLayer(LayerExpert, nn.Module):
    """``size`` keys and as many values."""

    def __init__(self, d: int, size: int) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.zeros(2, size, d))

    def prefix(self) -> Tensor | None:
        return self.prompt


_LAYERS: dict[str, Any] = {"adapter": AdapterLayer, "lora": LoraLayer, "prefix": PrefixLayer}


class Expert(nn.Module):
    """One expert for all layers of a trunk. ValueError for an unknown kind or a size below 1."""

    def __init__(self, kind: str, size: int, width: int, layers: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind: got {kind!r}, wanted {', '.join(KINDS)}")
        if size < 1:
            raise ValueError(f"size: got {size}, wanted at least 1")
        self.kind, self.size, self.width = kind, size, width
        self.layers = nn.ModuleList(_LAYERS[kind](width, size) for _ in range(layers))

    def layer(self, number: int) -> LayerExpert:
        """What it does in that layer."""
        found: Any = self.layers[number]
        return found

    @property
    def shape(self) -> tuple[str, int, int, int]:
        """Kind, size, width and layers: experts of one shape can be interpolated, and compared by task."""
        return self.kind, self.size, self.width, len(self.layers)

    def initialize(self, seed: int) -> None:
        """Fresh, the same for every machine: normal of deviation .02, biases and LoRA's B zero."""
        generator = torch.Generator().manual_seed(seed)
        for name, value in self.named_parameters():
            if name.endswith(("bias", "lora_B")):
                value.data.zero_()
            else:
                value.data.normal_(0, 0.02, generator=generator)

    @classmethod
    def of(cls, state: dict[str, Tensor], kind: str, size: int, width: int, layers: int) -> Expert:
        """Of exactly these tensors, as float32."""
        with torch.device("meta"):
            made = cls(kind, size, width, layers)
        if set(state) != set(expert_manifest(kind, size, width, layers)):
            raise ValueError(f"state: its keys are not those of an expert of kind {kind}")
        made.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
        return made
