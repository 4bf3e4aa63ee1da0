"""What runs on Ray: an actor for each process, which starts and watches it, and the keeper, which starts the actors.

All are detached: they live as long as the cluster, not as long as who started them, and Ray starts them again where
they die. Ray has no part in searches.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bebr.cluster import ray_nodes
from bebr.cluster.commands import Commands
from bebr.cluster.keeping import Keeper, Plan, Running
from bebr.cluster.opened import opened
from bebr.cluster.placing import Member, Size
from bebr.cluster.used import Cores, memory
from bebr.cluster.watching import State, Watched

_log = logging.getLogger("bebr.cluster")

KEEPER = "keeper"
# Seconds between two looks of the keeper, and for which it waits for what actors say.
_EVERY, _PATIENCE = 0.5, 1.0
# Seconds after which roots have found a leaf that is new.
_FOUND = 2.0
_DETACHED = {"lifetime": "detached", "max_restarts": -1, "num_cpus": 0}
# Ray hides the GPUs of a node from actors that ask for none. A leaf is to see them by the numbers that they have there.
_ALL_DEVICES = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}}


@dataclass(frozen=True)
class Said:
    """What an actor says of its process. `settled`, `cores`, `bytes`: as of `Running`."""

    state: State | None
    settled: bool
    cores: float
    bytes: int


_SILENT = Said(None, False, 0.0, 0)


class Process:
    """The actor of one process."""

    def __init__(self, commands: Commands, member: Member) -> None:
        command = commands.of(member, ray.util.get_node_ip_address())
        self._watched, self._cores = Watched(command, opened=opened if member.kind == "leaf" else None), Cores()

    def said(self) -> Said:
        state = self._watched.state()
        settled = state.opened is not None and time.monotonic() - state.opened >= _FOUND
        return Said(state, settled, self._cores.look(state.pid), memory(state.pid))

    def stop(self) -> None:
        self._watched.stop()

    def end(self) -> None:
        """Its process in peace, then itself."""
        self.stop()
        ray.actor.exit_actor()


@dataclass(frozen=True)
class Seen:
    """A member that was started, and what its actor said last; None where it says nothing."""

    member: str
    node: str
    state: State | None
    generation: int = 0
    cores: float = 0.0
    bytes: int = 0


class RayFleet:
    """The actors of this namespace, by their names, MEMBER#TIME#GENERATION#NODE."""

    def __init__(self, commands: Commands, leaf_bytes: int) -> None:
        self._commands, self._leaf_bytes = commands, leaf_bytes
        self._actors: dict[str, Any] = {}
        self._ending: dict[str, Any] = {}
        self.seen: list[Seen] = []

    def nodes(self) -> Mapping[str, int]:
        return ray_nodes.memory(ray.nodes())

    def cores(self) -> Mapping[str, float]:
        return ray_nodes.cores(ray.nodes())

    def running(self) -> Sequence[Running]:
        names = [name for name in ray.util.list_named_actors() if "#" in name]
        self._actors = {name: self._actors.get(name) or actor_of(name) for name in names}
        self._ending = {name: asked for name, asked in self._ending.items() if name in self._actors}
        there = self.nodes()  # those of a node that is lost would be waited for in vain, before they are replaced
        asked = {
            name: one
            for name, one in self._actors.items()
            if one is not None and name not in self._ending and _node_of(name) in there
        }
        states = _said({name: actor.said.remote() for name, actor in asked.items()})
        running, seen = list[Running](), list[Seen]()
        for name in names:
            member, _, generation, _ = name.split("#")
            node = _node_of(name)
            said = states.get(name, _SILENT)
            ready = said.state is not None and said.state.address != ""
            about = int(generation), said.cores, said.bytes
            running.append(Running(name, Member.parsed(member), node, ready, said.settled, *about))
            seen.append(Seen(member, node, said.state, *about))
        self.seen = seen
        return running

    def start(self, member: Member, node: str, generation: int) -> None:
        needs: dict[str, Any] = {}
        if member.kind == "leaf" and self._leaf_bytes:
            needs["memory"] = self._leaf_bytes
        if member.kind == "leaf" and self._commands.device != "cpu":
            needs["runtime_env"] = _ALL_DEVICES
        _log.info("%s is started at node %s", member, node)
        ray.remote(Process).options(
            name=f"{member}#{time.time_ns():020d}#{generation}#{node}",
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            **_DETACHED,
            **needs,
        ).remote(self._commands, member)

    def end(self, running: Running) -> None:
        """In peace where it takes calls: Ray kills, with an actor that it kills, the process that this one watches."""
        actor, asked = self._actors.get(running.name), self._ending.get(running.name)
        if actor is None:
            return
        there = running.node in self.nodes()
        if asked is None and there and running.ready:
            _log.info("%s is ended at node %s", running.member, running.node)
            self._ending[running.name] = actor.end.remote()
        elif asked is None or not there or ray.wait([asked], timeout=0)[0]:
            ray.kill(actor, no_restart=True)


class KeeperActor:
    """The actor of the keeper. Its arguments are all that it knows beyond what runs: started again, it goes on."""

    def __init__(self, plan: Plan, commands: Commands) -> None:
        self._about = plan, commands
        self._fleet = RayFleet(commands, plan.size.leaf_bytes)
        self._keeper, self._looks = Keeper(self._fleet, plan), 0
        threading.Thread(target=self._go_on, name="bebr-keep", daemon=True).start()

    def about(self) -> tuple[Plan, Commands]:
        return self._about

    def seen(self) -> tuple[list[Seen], int, Size]:
        """What its last look has seen; how many looks in turn there was nothing to do; and what there is to be."""
        return self._fleet.seen, self._looks, self._keeper.size

    def _go_on(self) -> None:
        while True:
            try:
                self._looks = self._looks + 1 if self._keeper.look() else 0
            except Exception:  # of Ray, while its head is away: the next look may do
                _log.exception("the cluster was not looked at")
            time.sleep(_EVERY)


def start_keeper(plan: Plan, commands: Commands) -> Any:
    """The actor, in this namespace: at the node of Ray's head, without which it can do nothing. So the loss of another
    node never waits until Ray has started the keeper again."""
    options: dict[str, Any] = dict(_DETACHED)
    if (node := ray_nodes.head(ray.nodes())) is not None:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=True)
    return ray.remote(KeeperActor).options(name=KEEPER, **options).remote(plan, commands)


def _node_of(name: str) -> str:
    """Of a member's actor."""
    return name.rpartition("#")[2]


def actor_of(name: str) -> Any:
    """Of this namespace; None where there is none."""
    with contextlib.suppress(ValueError):
        return ray.get_actor(name)
    return None


def _said(asked: dict[str, Any]) -> dict[str, Said]:
    """What those said that answered in time."""
    if not asked:
        return {}
    done, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=_PATIENCE)
    said = {}
    for name, reference in asked.items():
        if reference in done:
            with contextlib.suppress(RayError):
                said[name] = ray.get(reference)
    return said
