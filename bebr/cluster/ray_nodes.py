"""The nodes of Ray as a cluster takes them, from what Ray says of them (`ray.nodes()`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Said = Sequence[Mapping[str, Any]]

# What the node of Ray's head has, and no other.
_HEAD = "node:__internal_head__"


def memory(said: Said) -> dict[str, int]:
    """Of those that are alive and a place for members, by name, in bytes. One without processors is no place for
    anything, as Ray has it."""
    return {node["NodeID"]: int(node["Resources"].get("memory", 0)) for node in _places(said)}


def cores(said: Said) -> dict[str, float]:
    """Of the same nodes."""
    return {node["NodeID"]: float(node["Resources"]["CPU"]) for node in _places(said)}


def addresses(said: Said) -> dict[str, str]:
    """Of the same nodes."""
    return {node["NodeID"]: node["NodeManagerAddress"] for node in _places(said)}


def head(said: Said) -> str | None:
    """The node of Ray's head, which may be no place for members; None where it is not alive."""
    return next((node["NodeID"] for node in said if node["Alive"] and _HEAD in node["Resources"]), None)


def _places(said: Said) -> list[Mapping[str, Any]]:
    return [node for node in said if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
