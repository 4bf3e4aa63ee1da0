"""Released files of BoxSnake: detectron2's training files, brought to the manifest's keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["network_state"]

_HEAD = "roi_heads.mask_head."
_TWICE = (f"{_HEAD}decoder.xy_embed.", f"{_HEAD}xy_embed.")  # one list under two names
# What follows from the size, and is written by some versions of detectron2 only.
_FOLLOWS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.", f"{_HEAD}rasterize_at")


def network_state(state: Mapping[str, Any], where: str | Path) -> dict[str, Any]:
    """The tensors under the manifest's keys. ValueError where the two copies of the vertices' layers differ."""
    out = {}
    for key, tensor in state.items():
        if key.startswith(_FOLLOWS):
            continue
        name = key.replace(*_TWICE, 1) if key.startswith(_TWICE[0]) else key
        if name != key and name in state:
            if state[name].shape != tensor.shape or not bool((state[name] == tensor).all()):
                raise ValueError(f"weights: {where}: {key} differs from {name}, of which it should be a copy")
            continue
        out[name] = tensor
    return out
