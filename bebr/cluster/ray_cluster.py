"""A cluster on Ray from without: it is begun, looked at, made larger or smaller, and ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError

from bebr.cluster.commands import Commands
from bebr.cluster.keeping import Plan
from bebr.cluster.placing import Member, Size
from bebr.cluster.ray_actors import KEEPER, Seen, actor_of, start_keeper
from bebr.cluster.ray_nodes import addresses

# Seconds for Ray to say something, for its processes to end in peace, and between two looks.
_PATIENCE, _GRACE, _EVERY = 10.0, 20.0, 0.25
# Within which Ray has seen that a node is lost, and started its actors elsewhere.
_RESTART = 60.0


@dataclass(frozen=True)
class About:
    """`nodes`: those that are alive, each with its address; `seen`: the members that were started; `rest`: for how many
    looks of the keeper all of them have taken calls where they are to be; `size`: what
    there is to be, replicas by the load among it."""

    plan: Plan
    commands: Commands
    nodes: Mapping[str, str]
    seen: Sequence[Seen]
    rest: int
    size: Size

    @property
    def lacking(self) -> list[Member]:
        """Those that take no calls."""
        ready = {one.member for one in self.seen if one.state is not None and one.state.address}
        return [member for member in self.size.members() if str(member) not in ready]

    def addresses(self, kind: str) -> list[str]:
        """Of members of a kind that take calls."""
        there = [one for one in self.seen if one.member.startswith(kind) and one.state is not None]
        return sorted(one.state.address for one in there if one.state is not None and one.state.address)


class RayCluster:
    """The cluster of this name, in a Ray that this process is connected to; see `connected`."""

    def nodes(self, exactly: int | None, seconds: float) -> int:
        """How many there are; waits until there are so many. ``TimeoutError`` where that does not come about."""
        end = time.monotonic() + seconds
        while exactly is not None and (there := len(addresses(ray.nodes()))) != exactly:
            if time.monotonic() > end:
                raise TimeoutError(f"after {seconds:g} s Ray has {there} nodes: want {exactly}")
            time.sleep(_EVERY)
        return len(addresses(ray.nodes()))

    def up(self, plan: Plan, commands: Commands) -> None:
        """Begins it. ``ValueError`` where there is one."""
        if self._keeper() is not None:
            raise ValueError("the cluster is up already: `bebr cluster scale` makes it larger or smaller")
        start_keeper(plan, commands)

    def about(self, seconds: float = _PATIENCE) -> About:
        """``ConnectionError`` where Ray has no such cluster, or does not say."""
        keeper = self._keeper()
        if keeper is None:
            raise ConnectionError("Ray has no cluster of this name: begin one by `bebr cluster up`")
        try:
            asked = [keeper.about.remote(), keeper.seen.remote()]
            (plan, commands), (seen, rest, size) = ray.get(asked, timeout=seconds)
        except RayError as error:
            raise ConnectionError(f"the keeper of the cluster does not answer: {error}") from error
        return About(plan, commands, addresses(ray.nodes()), seen, rest, size)

    def wait(self, seconds: float) -> About:
        """Until all members have taken calls where they are to be, for two looks. ``TimeoutError`` names those that do
        not in time."""
        end = time.monotonic() + seconds
        while True:
            late = time.monotonic() > end
            try:
                about = self.about(max(seconds, _PATIENCE))
            except ConnectionError:  # its node has died, perhaps: Ray starts it on another one
                if late:
                    raise
            else:
                if about.rest >= 2:
                    return about
                if late:
                    names = ", ".join(map(str, about.lacking)) or "rest"
                    raise TimeoutError(f"after {seconds:g} s there is still no {names}: see the logs of Ray's workers")
            time.sleep(_EVERY)

    def _about_at_last(self) -> About:
        """The same of a keeper whose node has died, perhaps: Ray starts it again once it has seen that."""
        end = time.monotonic() + _RESTART
        while True:
            try:
                return self.about()
            except ConnectionError:
                if self._keeper() is None or time.monotonic() > end:
                    raise
            time.sleep(_EVERY)

    def scale(self, most: int | None = None, **changes: int) -> None:
        """Has another size: `replicas`, `roots` or `leaf_bytes`; or up to `most` replicas, as of `Plan`. Collections
        keep their number of shards."""
        about = self._about_at_last()
        size = replace(about.plan.size, **changes)
        self._follow(replace(about.plan, size=size, most=about.plan.most if most is None else most), about.commands)

    def drain(self, text: str) -> None:
        """Has nothing on a node any more, by its address or the beginning of its name: what is there is started on
        others first. ``ValueError`` where no node, or several, have it, or nothing else is left."""
        about = self._about_at_last()
        node = _the_node(text, about.nodes)
        drained = about.plan.drained & about.nodes.keys() | {node}
        if drained == about.nodes.keys():
            raise ValueError(f"{text} is the last node that is not drained: want another one first")
        self._follow(replace(about.plan, drained=drained), about.commands)

    def undrain(self, text: str) -> None:
        """Has members on a drained node again."""
        about = self._about_at_last()
        self._follow(replace(about.plan, drained=about.plan.drained - {_the_node(text, about.nodes)}), about.commands)

    def upgrade(self) -> None:
        """Starts every member anew, one after the other, each beside the one that it replaces."""
        about = self._about_at_last()
        self._follow(replace(about.plan, generation=about.plan.generation + 1), about.commands)

    def _follow(self, plan: Plan, commands: Commands) -> None:
        """Has another plan."""
        self._end_keeper()
        start_keeper(plan, commands)

    def down(self) -> None:
        """Ends all processes, each in peace; the database is as it was."""
        self._end_keeper()
        actors = [actor for name in ray.util.list_named_actors() if (actor := actor_of(name)) is not None]
        stops = [actor.stop.remote() for actor in actors]
        if stops:
            ray.wait(stops, num_returns=len(stops), timeout=_GRACE)
        for actor in actors:
            ray.kill(actor, no_restart=True)

    def _keeper(self) -> Any:
        return actor_of(KEEPER)

    def _end_keeper(self) -> None:
        """And waits until its name is free."""
        keeper, end = self._keeper(), time.monotonic() + _PATIENCE
        if keeper is not None:
            ray.kill(keeper, no_restart=True)
        while KEEPER in ray.util.list_named_actors():
            if time.monotonic() > end:
                raise ConnectionError("the keeper of the cluster does not end: is Ray's head away?")
            time.sleep(_EVERY)


def _the_node(text: str, there: Mapping[str, str]) -> str:
    found = [node for node, address in there.items() if text == address or (text and node.startswith(text))]
    if len(found) != 1:
        names = ", ".join(f"{node[:8]} ({address})" for node, address in there.items())
        raise ValueError(f"node is {text!r}, which {len(found)} nodes have: want one of {names}")
    return found[0]


@contextmanager
def connected(address: str, name: str, seconds: float = 0.0) -> Iterator[RayCluster]:
    """For the length of the block, the cluster `name` in the Ray at an address, "auto" for the one of this machine.
    ``ConnectionError`` where there is none, after `seconds`: a head that has just been started answers before a
    node has joined it."""
    end = time.monotonic() + seconds
    while not ray.is_initialized():
        try:
            ray.init(address, namespace=f"bebr-{name}", log_to_driver=False, logging_level="error")
        except (ConnectionError, RayError, RuntimeError) as error:
            if time.monotonic() > end:
                raise ConnectionError(f"there is no Ray at {address}: {error}") from error
            time.sleep(_EVERY)
    try:
        yield RayCluster()
    finally:
        ray.shutdown()
