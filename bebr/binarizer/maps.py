"""Maps between the vector spaces of two models, so that new queries search old codes and old codes become new ones.

Source: backward-compatible training (arXiv 2302.08714). The engine scores a code by base + <y, v>, so a new model
searches an old one's codes once its queries are mapped into the old decoder's space; no code changes (docs/method.md,
"Versions").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bebr import core
from bebr.arrays import Floats

# A bridge takes new queries to old codes, an upgrade old codes to the new model. Both names are those of tensors and
# keys in model files, which are a format: there an upgrade is called "lift".
BRIDGE, UPGRADE = "bridge", "lift"
KINDS = (BRIDGE, UPGRADE)
Stack = Callable[[str], list[tuple[Floats, Floats]]]  # the layers under a prefix


class Map:
    """x float32[n, d] -> linear(x) + network(x), float32[n, e]; the network, a small one with ReLU, may be absent.

    Tensors ``{prefix}.linear.0.weight/bias`` and ``{prefix}.{i}.weight/bias``.
    """

    def __init__(self, prefix: str, stack: Stack, has_network: bool) -> None:
        self._linear = core.Network(stack(f"{prefix}.linear"), prefix)
        self._network = core.Network(stack(prefix), prefix) if has_network else None
        if self._network is not None and self.dims != (self._network.input_dim, self._network.output_dim):
            raise ValueError(f"{prefix}.linear maps {self.dims[0]} to {self.dims[1]} dimensions: its network differs")

    @property
    def dims(self) -> tuple[int, int]:
        """(d, e)."""
        return self._linear.input_dim, self._linear.output_dim

    def __call__(self, x: Floats) -> Floats:
        y = self._linear.forward(x)
        return y if self._network is None else np.asarray(y + self._network.forward(x), np.float32)


def maps(config: Mapping[str, Any], names: set[str], stack: Stack, inner: int) -> dict[tuple[str, str], Map]:
    """The maps of a model's file by (kind, digest of the old model); ``ValueError`` names the tensor at fault.

    config: of the model, where ``compatible`` has an entry for each old model. names: of all tensors. inner: dimensions
    of the new model's own space, which a bridge leaves and an upgrade enters.
    """
    found = {}
    known = config.get("compatible") or {}
    for name in names:
        parts = name.split(".")
        if parts[0] in KINDS and (len(parts) < 3 or parts[1] not in known):
            raise ValueError(f"tensor {name!r} belongs to no model that config 'compatible' lists")
    for digest, facts in known.items():
        for kind, dims in ((BRIDGE, (inner, int(facts["inner_dim"]))), (UPGRADE, (int(facts["inner_dim"]), inner))):
            prefix = f"{kind}.{digest}"
            found[kind, digest] = Map(prefix, stack, f"{prefix}.0.weight" in names)
            if found[kind, digest].dims != dims:
                raise ValueError(f"{prefix} maps {found[kind, digest].dims}: want {dims}")
    return found
