"""The task of a map between two models' spaces, and the map itself as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bebr.arrays import Floats, Ids

# Of the new and the old producer's neighbourhoods (docs/experiments/compatibility.md).
SHARES = (0.25, 0.75)


@dataclass(frozen=True)
class Problem:
    """The task of a map: move rows of ``inputs`` to where they score ``fixed`` as the new model scores its own.

    inputs: float32[n, d] each, two views of the same items (a query is mapped as a float or as its decoded code).
    target: float32[n, e], where regression sends them. fixed: float32[n, e], the other side of every score: frozen
    codes of documents where queries are mapped, queries where documents are.
    teachers: float32[n, t] each, the new and the old producer's vectors of the same items, whose neighbourhoods are the
    aim, in parts of SHARES.
    side: which side of a score the map makes. metric: of all scores. unit: outputs are scaled to unit length.
    held: int64[h], rows for choosing only. kept: the rest.
    """

    name: str
    inputs: tuple[Floats, ...]
    target: Floats
    fixed: Floats
    teachers: tuple[Floats, Floats]
    side: Literal["query", "document"]
    metric: str
    unit: bool
    held: Ids
    kept: Ids


@dataclass(frozen=True)
class Weights:
    """x -> x @ linear + bias, plus a ReLU network given by its (weight [out, in], bias) layers, if any."""

    linear: Floats
    bias: Floats
    layers: tuple[tuple[Floats, Floats], ...] = ()

    def __call__(self, x: Floats) -> Floats:
        y, h = x @ self.linear + self.bias, x
        for i, (weight, bias) in enumerate(self.layers):
            h = (np.maximum(h, 0) if i else h) @ weight.T + bias
        return np.asarray(y + h if self.layers else y, np.float32)

    def tensors(self, prefix: str) -> dict[str, Floats]:
        """Under the names of :class:`bebr.binarizer.maps.Map`."""
        named = {f"{prefix}.linear.0.weight": self.linear.T, f"{prefix}.linear.0.bias": self.bias}
        for i, (weight, bias) in enumerate(self.layers):
            named[f"{prefix}.{i}.weight"], named[f"{prefix}.{i}.bias"] = weight, bias
        return named
