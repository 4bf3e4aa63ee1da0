"""Has a cluster the processes that it is to have: what is missing is started, what is too much is ended, and what is
on the wrong node, or of an older generation, is started anew first."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bebr.cluster.placing import Member, Size, placed
from bebr.cluster.scaling import Scaling


@dataclass(frozen=True)
class Running:
    """A member that was started on a node. `name`: unlike that of any other one, in order of their start; `ready`: it
    takes calls; `settled`: it has opened all that it has, and roots know it. `generation`: see `Plan`. `cores`: how
    many it computes with; `bytes`: what it has in memory."""

    name: str
    member: Member
    node: str
    ready: bool
    settled: bool = False
    generation: int = 0
    cores: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """What a cluster is to be. `most`: up to so many replicas, by what leaves have to do, and never fewer than `size`
    says; 0 for just as many. `drained`: nodes that are to have nothing; `generation`: members of a smaller one are
    replaced, which an upgrade makes larger."""

    size: Size
    drained: frozenset[str] = frozenset()
    generation: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        if self.most:
            replace(self.size, replicas=self.most)  # refuses what is too many
        if 0 < self.most < self.size.replicas:
            raise ValueError(f"most replicas is {self.most}: want {self.size.replicas}, the replicas, or more")


class Fleet(Protocol):
    """What starts and ends members; on Ray, or in a test."""

    def nodes(self) -> Mapping[str, int]:
        """Those that are alive, each with its memory in bytes."""
        ...

    def cores(self) -> Mapping[str, float]:
        """Of the same nodes."""
        ...

    def running(self) -> Sequence[Running]:
        """All that were started and not ended, whether their nodes are alive or not."""
        ...

    def start(self, member: Member, node: str, generation: int) -> None: ...

    def end(self, running: Running) -> None: ...


class Keeper:
    """What runs says all that it has to know, so it may die at any time, and another one goes on. `size`: what there is
    to be at the moment. `clock`: in seconds."""

    def __init__(self, fleet: Fleet, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._fleet, self._plan, self.size, self._clock = fleet, plan, plan.size, clock
        self._scaling = Scaling(plan.size.replicas, plan.most) if plan.most else None

    def look(self) -> bool:
        """Compares what runs with what should, and does what can be done at once. Whether nothing was left to do: all
        members take calls where they are to be."""
        nodes = self._fleet.nodes()
        there = self._alive(nodes)
        places = {node: memory for node, memory in nodes.items() if node not in self._plan.drained}
        size = self.size = self._sized(places, there)
        wanted = size.members()
        for member in there.keys() - set(wanted):
            self._end(there.pop(member))
        targets = placed(size, places, {member: several[0].node for member, several in there.items()})
        step = _Step(self._fleet, replace(self._plan, size=size), nodes, there)
        rest = [step.towards(member, node) for member, node in targets.items()]
        return all(rest) and len(targets) == len(wanted)

    def _alive(self, nodes: Mapping[str, int]) -> defaultdict[Member, list[Running]]:
        """Of each member, those that run on these nodes, the one first that takes calls for longest."""
        there = defaultdict[Member, list[Running]](list)
        for running in sorted(self._fleet.running(), key=lambda one: (not one.ready, one.name)):
            if running.node in nodes:
                there[running.member].append(running)
            else:
                self._fleet.end(running)
        return there

    def _sized(self, places: Mapping[str, int], there: Mapping[Member, Sequence[Running]]) -> Size:
        """As many replicas as the load wants; and where memory counts, leaves as large as the largest has become."""
        size = self._plan.size
        leaves = [one for member, several in there.items() if member.kind == "leaf" for one in several]
        if size.leaf_bytes:
            size = replace(size, leaf_bytes=max([size.leaf_bytes, *(one.bytes for one in leaves)]))
        if self._scaling is None:
            return size
        cores, loads = self._fleet.cores(), dict[str, float | None]()
        for node in places:
            here = [one.cores for one in leaves if one.node == node]
            loads[node] = sum(here) / max(cores[node], 1e-9) if here else None
        replicas = max((one.member.replica + 1 for one in leaves), default=0)
        if replicas > size.replicas and any(not one.ready for one in leaves):
            return replace(size, replicas=min(replicas, self._plan.most))  # one change after the other
        return replace(size, replicas=self._scaling.replicas(replicas, loads, self._clock()))

    def _end(self, several: Sequence[Running]) -> None:
        for running in several:
            self._fleet.end(running)


class _Step:
    """One look's part of the way to a plan. One member at a time is replaced that takes calls."""

    def __init__(
        self, fleet: Fleet, plan: Plan, nodes: Mapping[str, int], there: defaultdict[Member, list[Running]]
    ) -> None:
        self._fleet, self._plan, self._nodes, self._there = fleet, plan, nodes, there
        self._moving = any(len(several) > 1 for several in there.values())

    def towards(self, member: Member, node: str) -> bool:
        """Has a member on a node. Whether it is there, and takes calls."""
        several = self._there[member]
        right = [one for one in several if one.node == node and one.generation == self._plan.generation]
        if not right:
            self._begin(member, node, several)
        elif right[0].settled:
            for running in several:
                if running is not right[0]:
                    self._fleet.end(running)
        return len(several) == 1 and bool(right) and right[0].ready

    def _begin(self, member: Member, node: str, several: list[Running]) -> None:
        if several:
            first, *rest = several
            for running in rest:  # its way was changed while it was on it
                self._fleet.end(running)
            if self._moving:
                return
            if not first.ready:
                if first.node == node or first.node in self._plan.drained:  # it answers nobody: nothing is lost
                    self._fleet.end(first)
                return
            self._moving = True
            if first.node == node and member.kind == "leaf" and not self._has_room(node):
                if self._has_another(member):
                    self._fleet.end(first)
                return
        self._fleet.start(member, node, self._plan.generation)

    def _has_room(self, node: str) -> bool:
        """For one leaf more than there are."""
        leaves = sum(
            one.node == node for several in self._there.values() for one in several if one.member.kind == "leaf"
        )
        return (leaves + 1) * self._plan.size.leaf_bytes <= self._nodes[node]

    def _has_another(self, member: Member) -> bool:
        """Whether another replica of its shard takes calls."""
        return any(
            one.settled
            for other, several in self._there.items()
            if other != member and other.apart == member.apart
            for one in several
        )
