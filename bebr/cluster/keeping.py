"""Has a cluster the processes that it is to have: what is missing is started, what is too much is ended, and what is
on the wrong node is started on the right one first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bebr.cluster.placing import Member, Size, placed


@dataclass(frozen=True)
class Running:
    """A member that was started on a node. `name`: unlike that of any other one, in order of their start; `ready`: it
    answers calls."""

    name: str
    member: Member
    node: str
    ready: bool


class Fleet(Protocol):
    """What starts and ends members; on Ray, or in a test."""

    def nodes(self) -> Mapping[str, int]:
        """Those that are alive, each with its memory in bytes."""
        ...

    def running(self) -> Sequence[Running]:
        """All that were started and not ended, whether their nodes are alive or not."""
        ...

    def start(self, member: Member, node: str) -> None: ...

    def end(self, running: Running) -> None: ...


class Keeper:
    """It has no memory of its own: what runs says all. So it may die at any time, and another one goes on."""

    def __init__(self, fleet: Fleet, size: Size) -> None:
        self._fleet, self._size = fleet, size

    def look(self) -> bool:
        """Compares what runs with what should, and does what can be done at once. Whether nothing was left to do: all
        members take calls where they are to be."""
        nodes = self._fleet.nodes()
        there = defaultdict[Member, list[Running]](list)
        for running in sorted(self._fleet.running(), key=lambda one: (not one.ready, one.name)):
            if running.node in nodes:
                there[running.member].append(running)
            else:
                self._fleet.end(running)
        wanted = set(self._size.members())
        for member in [member for member in there if member not in wanted]:
            for running in there.pop(member):
                self._fleet.end(running)
        moving = any(len(several) > 1 for several in there.values())
        targets = placed(self._size, nodes, {member: several[0].node for member, several in there.items()})
        rest = len(targets) == len(wanted)
        for member, node in targets.items():
            several = there[member]
            rest = rest and len(several) == 1 and several[0].node == node and several[0].ready
            right = [running for running in several if running.node == node]
            if not right:
                for running in several[1:]:  # its way was changed while it was on it
                    self._fleet.end(running)
                if several and (moving or not several[0].ready):
                    continue  # one move at a time, and none of what is only on its way
                moving = moving or bool(several)
                self._fleet.start(member, node)
            elif right[0].ready:
                for running in several:
                    if running is not right[0]:
                        self._fleet.end(running)
        return rest
