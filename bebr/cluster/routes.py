"""What the front of a root needs to search collections in shards by itself: where their shards are, by what leaves said
last. It is published anew whenever that changes; what is refused by a leaf, or may be wrong, comes back to Python."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from bebr.cluster.known import FRESH, Cluster, Known
from bebr.cluster.racing import ended
from bebr.errors import CorruptFile
from bebr.serve.channel import SEARCH
from bebr.serve.front import Front
from bebr.serve.routing import Route, ShardRoute
from bebr.v1 import bebr_pb2 as pb

# Seconds for which a route goes on to be good once what is known of its collection is old, and asked anew.
_AGAIN = 1.0
_SECOND = 1e9  # ns


class Routes:
    """Of a root, in its event loop, from when it is made. `patience`: seconds within which all shards have to
    answer."""

    def __init__(self, front: Front, cluster: Cluster, patience: float) -> None:
        self._front, self._cluster, self._leaves = front, cluster, cluster.leaves
        self._patience = int(patience * _SECOND)
        self._known: dict[str, tuple[Known, float]] = {}
        self._shown: dict[str, tuple[Route, float]] = {}
        cluster.learned = self._learned
        self._leaves.changed = self._changed
        self._leaves.tried_there = lambda: front.second_tries
        front.asked, front.stale = self._asked, self._stale
        self._delay = 0.0
        self._renewing = set[asyncio.Task[None]]()

    def _learned(self, name: str, known: Known | None, when: float) -> None:
        """What all shards of a collection said at that time; None: it is not so any more, or some did not say."""
        if known is None:
            self._known.pop(name, None)
        else:
            self._known[name] = known, when
        self._show(name)

    def _changed(self, name: str | None) -> None:
        """Which leaves a collection has, or whose turn it is; None: those of any, which is told twice a second."""
        if name is None:
            self._front.tell_asked()
        old = time.monotonic() - FRESH - _AGAIN
        for gone in [one for one, (_, when) in self._known.items() if when < old]:
            del self._known[gone]
            self._show(gone)
        for one in list(self._known) if name is None else [name]:
            self._show(one)

    def _show(self, name: str) -> None:
        known, when = self._known.get(name, (None, 0.0))
        route = None if known is None else self._route(name, known)
        if route is None:
            if self._shown.pop(name, None) is not None:
                self._front.end_route(name)
        elif self._shown.get(name) != (route, when):
            self._shown[name] = route, when
            renew = when + FRESH
            self._front.show_route(name, route, int(renew * _SECOND), int((renew + _AGAIN) * _SECOND))

    def _route(self, name: str, known: Known) -> Route | None:
        """None where Python is to answer: of shards under migration, of one that no leaf answers for, or one that the
        front cannot call."""
        if known.shards[0].name != name:  # an alias, which may become another's
            return None
        if known.split and any(one.former or one.streamed for one in known.said):
            return None
        shards = []
        for shard in known.shards:
            try:
                leaves, alike = self._leaves.order(shard)
            except (ConnectionError, CorruptFile):
                return None
            there = [leaf for leaf in leaves if leaf.alive]
            places = tuple(leaf.place for leaf in there if leaf.place is not None)
            model = known.model_at(shard.number, known.model.digest)
            if not there or len(places) < len(there) or (known.split and not model):
                return None
            shards.append(ShardRoute(str(shard), model, places, min(alike, len(places))))
        ascending = known.model.metric == pb.METRIC_L2
        return Route(tuple(shards), tuple(sorted(known.models)), ascending, self._patience)

    def _asked(self, calls: list[tuple[str, int, bool]]) -> None:
        """The front has called leaves."""
        self._leaves.note(SEARCH, calls)
        delay = self._leaves.delay(SEARCH)
        if delay != self._delay:
            self._delay = delay
            self._front.set_delay(int(delay * _SECOND))

    def _stale(self, name: str) -> None:
        """A collection is searched, and what is known of it is old."""
        task = asyncio.create_task(self._renewed(name))
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)

    async def _renewed(self, name: str) -> None:
        with suppress(Exception):  # its searches come to Python, and who sends them is told
            await self._cluster.known(name)

    async def close(self) -> None:
        await ended(self._renewing)
