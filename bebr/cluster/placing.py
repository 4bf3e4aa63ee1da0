"""Which node of a cluster has which process: replicas of a shard on different nodes, and each node as much as it has
memory for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bebr.cluster.names import MOST_SHARDS


@dataclass(frozen=True)
class Member:
    """A process that a cluster is to have: replica `replica` of shard `number`, or root `number`."""

    kind: Literal["leaf", "root"]
    number: int
    replica: int = 0

    def __str__(self) -> str:
        return f"leaf-{self.number}-{self.replica}" if self.kind == "leaf" else f"root-{self.number}"

    @property
    def apart(self) -> str:
        """Members for which it is the same want nodes of their own: replicas of one shard, and roots."""
        return f"shard {self.number}" if self.kind == "leaf" else "roots"

    @classmethod
    def parsed(cls, text: str) -> Member:
        kind, number, *replica = text.split("-")
        return cls("leaf", int(number), int(replica[0])) if kind == "leaf" else cls("root", int(number))


@dataclass(frozen=True)
class Size:
    """How much of a cluster there is to be. `leaf_bytes`: memory that a leaf may need, 0 where nobody counts."""

    shards: int
    replicas: int = 1
    roots: int = 1
    leaf_bytes: int = 0

    def __post_init__(self) -> None:
        for name, most in (("shards", MOST_SHARDS), ("replicas", 16), ("roots", 256)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}: want 1 to {most}")
        if self.leaf_bytes < 0:
            raise ValueError(f"leaf_bytes is {self.leaf_bytes}: want 0 or more")

    def members(self) -> list[Member]:
        """All, in the order of what is missed most: a replica of each shard, the roots, then more replicas."""
        leaves = [Member("leaf", shard, replica) for replica in range(self.replicas) for shard in range(self.shards)]
        roots = [Member("root", number) for number in range(self.roots)]
        return leaves[: self.shards] + roots + leaves[self.shards :]


def placed(size: Size, nodes: Mapping[str, int], before: Mapping[Member, str]) -> dict[Member, str]:
    """The node of each member; one for which there is none is left out. `nodes`: the memory of each in bytes;
    `before`: where members are now. They stay there, unless a node would have less to do for its memory than the one
    that they leave has now."""
    places = _Places(size, nodes)
    members = size.members()
    for member in members:
        node = before.get(member)
        if node is not None and places.fits(member, node):
            places.put(member, node)
    while True:
        for member in members:
            if member not in places.of:
                fitting = [node for node in nodes if places.fits(member, node)]
                if fitting:
                    places.put(member, min(fitting, key=lambda node: (places.load(node, 1), node)))
        if not places.level():  # a move may have made room for another
            return places.of


class _Places:
    def __init__(self, size: Size, nodes: Mapping[str, int]) -> None:
        self._need, self._nodes = size.leaf_bytes, nodes
        self.of: dict[Member, str] = {}
        self._on: dict[str, list[Member]] = {node: [] for node in nodes}

    def fits(self, member: Member, node: str) -> bool:
        """Whether it may be there, beside what is there."""
        if node not in self._on or any(other.apart == member.apart for other in self._on[node]):
            return False
        leaves = sum(other.kind == "leaf" for other in self._on[node])
        return member.kind == "root" or (leaves + 1) * self._need <= self._nodes[node]

    def put(self, member: Member, node: str) -> None:
        if member in self.of:
            self._on[self.of[member]].remove(member)
        self.of[member] = node
        self._on[node].append(member)

    def load(self, node: str, more: int = 0) -> float:
        """Of so many more members: what a byte of its memory has to do."""
        return (len(self._on[node]) + more) / max(self._nodes[node], 1)

    def level(self) -> bool:
        """Moves one leaf to a node that has less to do with it than its own has now; whether there was one. Roots stay
        where clients know them."""
        nodes = sorted(self._on, key=lambda node: (self.load(node), node))
        for old in reversed(nodes):
            for new in nodes:
                if self.load(new, 1) < self.load(old):
                    for member in self._newest(self._on[old]):
                        if self.fits(member, new):
                            self.put(member, new)
                            return True
        return False

    @staticmethod
    def _newest(members: Sequence[Member]) -> list[Member]:
        """The leaves, those first that are missed least."""
        leaves = [member for member in members if member.kind == "leaf"]
        return sorted(leaves, key=lambda member: (member.replica, member.number), reverse=True)
