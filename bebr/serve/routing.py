"""Where the shards of a collection are, for the front of a root (csrc/server/route.h)."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A leaf: its name, its address in figures, and the metadata "authorization" of its calls, "" for none."""

    name: str
    host: str
    port: int
    authorization: str


class ShardRoute(NamedTuple):
    """``collection``, ``model``: names of them at its leaves; these in the order in which they are asked, the first
    ``alike`` of them by turns."""

    collection: str
    model: str
    leaves: tuple[Place, ...]
    alike: int


class Route(NamedTuple):
    """Queries of ``models`` are for each shard's own model. ``ascending``: small scores are the best. ``patience``: ns
    within which all shards have to answer."""

    shards: tuple[ShardRoute, ...]
    models: tuple[str, ...]
    ascending: bool
    patience: int
