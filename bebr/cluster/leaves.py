"""The leaves of a cluster: which have a shard, which of them is asked, and what happens when one does not answer."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from google.protobuf.message import Message

from bebr.cluster.latencies import KEPT, Latencies
from bebr.cluster.leaf import ELSEWHERE, EVERY, LOOK, Leaf
from bebr.cluster.looking import News, Watch
from bebr.cluster.names import Shard
from bebr.cluster.racing import ended, first_answer
from bebr.collection.protocol import DatabaseLocked
from bebr.errors import CorruptFile

_log = logging.getLogger("bebr.cluster")

# Seconds between two looks by gRPC at leaves that are looked at past it, for what they are may have changed; and, while
# all of them are, between two questions to the database which there are.
_ANEW, _FIND = 60.0, 2.0
# Seconds for which a root that begins waits for the first look: then it takes calls, and goes on looking.
_FIRST = 3.0
# Seconds after which all leaves have heard of names that were made, changed or dropped.
_FOLLOWED = 1.0
# Seconds after which leaves have, as a rule, what another one has written (bebr/store/home_shared.py); the front's are
# in csrc/server/scattering.cpp.
_HEARD = 0.25
# Seconds for one try of a write: longer than a lease, so that another leaf may write by then.
_WRITE = 20.0
# Seconds for which writes wait for the lease of a leaf that is away, and between tries.
_LEASE, _AGAIN = 30.0, 0.25


class Leaves:
    """Belongs to one event loop. `found`: returns the addresses of those that there are, in a thread; `made`: of a new
    one; without these, they are the `leaves` for good. `patience`: the seconds within which a replica of a shard must
    have answered a read. `tried_twice`: reads for which a second replica was asked beside the first, since it took
    long; `partial`: answers without some shards. `told`: of every call to a leaf, its method, its seconds, and whether
    it answered; `told_gone`: of leaves that are there no more. `changed`: told of a collection, or None for any, some
    leaf of which is to be asked rather than another one, or no more; `tried_there`: second tries that were made
    elsewhere."""

    def __init__(
        self,
        leaves: Sequence[Leaf],
        patience: float,
        found: Callable[[], Sequence[str]] | None = None,
        made: Callable[[str], Leaf] | None = None,
    ) -> None:
        self.all, self._patience = list(leaves), patience
        self._found, self._made = found, made
        self.partial = 0
        self._tried_twice = 0
        self.told: Callable[[str, str, float, bool], None] = _nobody
        self.told_gone: Callable[[str], None] = lambda leaf: None
        self.changed: Callable[[str | None], None] = lambda name: None
        self.tried_there: Callable[[], int] = lambda: 0
        self._latencies: defaultdict[str, Latencies] = defaultdict(Latencies)  # by method
        self._turns = itertools.count()
        self._written: dict[Shard, tuple[Leaf, float]] = {}  # who wrote it last by way of this root, and when
        self._dropped: dict[Shard, float] = {}  # when; as of the next
        self._made_at: dict[Shard, float] = {}
        self._aliases: tuple[dict[str, str], float] = {}, -float("inf")
        self._looking: asyncio.Task[None] | None = None
        self._watch: Watch | None = None
        self._unwatched, self._anew = asyncio.Event(), time.monotonic() + _ANEW
        self._refused: dict[Leaf, str] = {}  # what was logged last
        self._unfound = self._waits = ""  # why the database does not say which there are; what was logged last

    async def start(self) -> None:
        """Looks at them from now on. Where none answers, that is logged, and calls get ``ConnectionError`` until one
        does."""
        first = asyncio.create_task(self.look(max(LOOK, self._patience)))
        self._looking = asyncio.create_task(self._look_on(first))
        await asyncio.wait([first], timeout=_FIRST)

    async def close(self) -> None:
        if self._looking is not None:
            await ended([self._looking])
        if self._watch is not None:
            self._watch.stop()
        for leaf in self.all:
            await leaf.close()

    async def look(self, timeout: float = LOOK, anew: bool = False, watched: bool = True) -> None:
        """Asks all leaves what they have, by gRPC, and with `anew` what they are; who has not answered after so many
        seconds is taken to be away. `watched`: those too that are looked at past gRPC."""
        await self._find()
        before = {leaf: leaf.alive for leaf in self.all}
        asked = [leaf for leaf in self.all if watched or leaf.watched is None]
        await asyncio.gather(*(leaf.look(timeout, anew) for leaf in asked))
        self._noted(before)
        waits = "" if any(leaf.alive for leaf in self.all) else self.silence
        if waits and waits != self._waits:
            _log.warning("no call can be answered: %s", waits)
        self._waits = waits
        self._watch_all()

    def _noted(self, before: Mapping[Leaf, bool]) -> None:
        """What was seen. `before`: which of them answered last time."""
        for leaf, alive in before.items():
            if alive != leaf.alive:
                level, says = (logging.INFO, "answers") if leaf.alive else (logging.WARNING, "does not answer")
                _log.log(level, "leaf %s %s", leaf.name, says)
            if leaf.refuses != self._refused.get(leaf, ""):
                self._refused[leaf] = leaf.refuses
                if leaf.refuses:
                    _log.warning("%s", leaf.refuses)
        self.changed(None)

    def _watch_all(self) -> None:
        """Has those that answer, and can be, looked at past gRPC."""
        wanted = {leaf: leaf.caller for leaf in self.all if leaf.alive and leaf.caller is not None}
        there = {} if self._watch is None else self._watch.leaves
        if wanted == there and all(leaf.watched is not None for leaf in wanted):
            return
        if self._watch is not None:
            self._watch.stop()
        self._watch = Watch(list(wanted), self._told) if wanted else None

    def _told(self, news: Sequence[News]) -> None:
        """Past gRPC."""
        before = {one.leaf: one.leaf.alive for one in news}
        for leaf, asked, said, late in news:
            if said is not None:
                leaf.heard(asked, said)
            else:
                leaf.alive, leaf.watched = leaf.alive and not late, None
                self._unwatched.set()
        self._noted(before)

    async def _find(self) -> None:
        """Has those that there are by now; who is gone stays as long as it answers."""
        if self._found is None or self._made is None:
            return
        try:
            names = set(await asyncio.to_thread(self._found))
        except (OSError, DatabaseLocked) as error:
            _log.debug("the leaves stay those that they were: %s", error)
            self._unfound = str(error)
            return
        self._unfound = ""
        self.all += [self._made(name) for name in sorted(names - {leaf.name for leaf in self.all})]
        gone = [leaf for leaf in self.all if leaf.name not in names and not leaf.alive]
        self.all = [leaf for leaf in self.all if leaf not in gone]
        for leaf in gone:
            self._refused.pop(leaf, None)
            self.told_gone(leaf.name)
            await leaf.close()

    async def _look_on(self, look: asyncio.Task[None]) -> None:
        """After this one, and each after another."""
        while True:
            try:
                await look
            except Exception:  # of one leaf, which may be of another version; it stays as it was
                _log.exception("the leaves were not looked at")
            anew = await self._paused()
            look = asyncio.create_task(self.look(anew=anew, watched=anew))

    async def _paused(self) -> bool:
        """After it, whether all leaves are to be asked, and what they are, too."""
        if not self.all or any(leaf.watched is None for leaf in self.all):
            await asyncio.sleep(EVERY)
        else:
            self._unwatched.clear()
            left = max(self._anew - time.monotonic(), 0.0)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._unwatched.wait(), left if self._found is None else min(left, _FIND))
        if time.monotonic() < self._anew:
            return False
        self._anew = time.monotonic() + _ANEW
        return True

    # What there is

    def shards(self) -> set[Shard]:
        """All that some leaf has, or had before it went away."""
        recent = time.monotonic() - _FOLLOWED
        there = set().union(*(leaf.shards for leaf in self.all))
        return {shard for shard in there if self._dropped.get(shard, recent) <= recent}

    def are_all(self, name: str) -> bool:
        """Whether a collection whose first shard no leaf has does not exist. Of a database that they share, that says
        a leaf that answers and takes this shard; of folders, all have to have said what they have."""
        if any(leaf.shared for leaf in self.all):
            return any(leaf.alive and leaf.shared and leaf.taken.takes(Shard(name, 0, 1)) for leaf in self.all)
        return self._found is None and all(leaf.looked for leaf in self.all)

    def check_heard(self) -> None:
        """``ConnectionError`` where none of them has said anything yet."""
        if not any(leaf.looked for leaf in self.all):
            raise ConnectionError(self.silence)

    @property
    def silence(self) -> str:
        """Who does not answer, in words."""
        silent = [leaf.name for leaf in self.all if not leaf.alive]
        refusals = [leaf.refuses for leaf in self.all if leaf.refuses]
        if refusals:
            return refusals[0]
        if silent:
            which = "none of the leaves answers" if len(silent) == len(self.all) else "not all of the leaves answer"
            return f"{which}: {', '.join(silent)}"
        if self.all:
            return "no leaf takes its first shard"
        return self._unfound or "the database has no leaves: start one"

    def aliases(self) -> dict[str, str]:
        """The collection of each alias."""
        aliases, when = self._aliases
        if time.monotonic() - when < _FOLLOWED:
            return aliases
        found: dict[str, str] = {}
        for leaf in sorted(self.all, key=lambda leaf: leaf.alive):
            found |= leaf.aliases
        return found

    def note_aliases(self, aliases: dict[str, str]) -> None:
        """They were changed by way of this root; leaves may say otherwise for a moment."""
        self._aliases = aliases, time.monotonic()

    def note_made(self, shard: Shard, leaf: Leaf) -> None:
        """A leaf has made a shard."""
        leaf.have(leaf.shards | {shard})
        self._dropped.pop(shard, None)
        self._made_at[shard] = time.monotonic()
        self._written[shard] = leaf, time.monotonic()
        self.changed(shard.name)

    def note_exchanged(self, shard: Shard) -> None:
        """A shard is another collection from now on, whose versions say nothing of those before."""
        self._made_at[shard] = time.monotonic()
        self.changed(shard.name)

    def note_dropped(self, shard: Shard) -> None:
        """A shard is gone, though leaves may say otherwise for a moment."""
        self._dropped[shard] = time.monotonic()
        self._written.pop(shard, None)
        for leaf in self.all:
            leaf.have(leaf.shards - {shard})
        self.changed(shard.name)

    def takers(self, shard: Shard) -> list[Leaf]:
        """Leaves that may be given a shard, those that answer first."""
        taking = [leaf for leaf in self.all if leaf.taken.takes(shard)]
        return sorted(_turned(taking, shard.number), key=lambda leaf: not leaf.alive)

    def _having(self, shard: Shard) -> list[Leaf]:
        having = [leaf for leaf in self.all if shard in leaf.shards]
        if not having:
            raise ConnectionError(f"no leaf has shard {shard}: start one that takes it")
        if len(having) > 1 and (len({leaf.shared for leaf in having}) > 1 or not having[0].shared):
            names = ", ".join(leaf.name for leaf in having)
            raise CorruptFile(f"shard {shard} is at {names}, which share no database: drop it at all but one of them")
        return having

    # Calls

    @property
    def tried_twice(self) -> int:
        return self._tried_twice + self.tried_there()

    def delay(self, method: str) -> float:
        """Seconds after which another replica is asked beside one that has not answered."""
        return self._latencies[method].delay

    def note(self, method: str, calls: Sequence[tuple[str, int, bool]]) -> None:
        """Leaves were called elsewhere, for reads: which, ns, and whether they answered."""
        self._latencies[method].note(*[ns / 1e9 for _, ns, answered in calls[-KEPT:] if answered])
        if self.told is not _nobody:
            for leaf, ns, answered in calls:
                self.told(leaf, method, ns / 1e9, answered)

    async def read(self, shard: Shard, method: str, request: Message) -> Any:
        """The reply of one replica, the one that is first to answer; see `first_answer`."""
        latencies = self._latencies[method]
        replicas, alike = self._readers(shard)
        delay = latencies.delay if alike > 1 else max(latencies.delay, _HEARD)

        def tried(leaf: Leaf, number: int) -> Callable[[], Any]:
            async def ask() -> Any:
                begun = time.monotonic()
                self._tried_twice += number > 0
                try:
                    reply = await self._asked(leaf, method, request, None)
                except asyncio.CancelledError:  # it took longer than that
                    latencies.note(time.monotonic() - begun)
                    raise
                latencies.note(time.monotonic() - begun)
                return reply

            return ask

        tries = [tried(leaf, number) for number, leaf in enumerate(replicas)]
        try:
            return await asyncio.wait_for(first_answer(tries, delay, ELSEWHERE), self._patience)
        except asyncio.TimeoutError:
            names = ", ".join(leaf.name for leaf in replicas)
            raise ConnectionError(f"shard {shard}: none of {names} answered within {self._patience:g} s") from None

    def _readers(self, shard: Shard) -> tuple[list[Leaf], int]:
        """In the order in which they are to be tried, the first ones by turns; and how many these are."""
        ordered, alike = self.order(shard)
        return _turned(ordered[:alike], next(self._turns)) + ordered[alike:], alike

    def order(self, shard: Shard) -> tuple[list[Leaf], int]:
        """Those that have a shard, those first that have what was written by way of this root, and those last that are
        away; and how many of the first are as good as each other. ``ConnectionError`` and ``CorruptFile`` where there
        is nobody to ask."""
        having = self._having(shard)
        ranked = [((not leaf.alive, not self._has_written(leaf, shard)), i) for i, leaf in enumerate(having)]
        ranked.sort()
        return [having[i] for _, i in ranked], sum(rank == ranked[0][0] for rank, _ in ranked)

    def _has_written(self, leaf: Leaf, shard: Shard) -> bool:
        """Whether a leaf is known to have what this root wrote: it is the one that did it, or has a version that this
        one had afterwards. Of a shard that was made anew a moment ago, it may still have the one before."""
        writer, when = self._written.get(shard, (leaf, 0.0))
        if leaf is writer:
            return True
        made = self._made_at.get(shard)
        if made is not None and leaf.looked < made + _FOLLOWED:
            return False
        return writer.looked > when and 0 < writer.versions.get(shard, 0) <= leaf.versions.get(shard, 0)

    async def write(self, shard: Shard, method: str, request: Message) -> Any:
        """The reply of the leaf that writes the shard. Where that is away, another one does once its lease has ended;
        until then the call waits."""
        end = time.monotonic() + _LEASE
        while True:
            errors: list[Exception] = []
            for leaf in self._writers(shard):
                try:
                    reply = await self._asked(leaf, method, request, _WRITE)
                except (DatabaseLocked, ConnectionError, TimeoutError) as error:
                    errors.append(error)
                else:
                    self._written[shard] = leaf, time.monotonic()
                    self.changed(shard.name)
                    return reply
            locked = [error for error in errors if isinstance(error, DatabaseLocked)]
            if not locked or time.monotonic() > end:
                raise (locked or errors)[0]
            await asyncio.sleep(_AGAIN)

    def _writers(self, shard: Shard) -> list[Leaf]:
        """In the order in which they are to be tried: who wrote last; who is away last. All roots begin with the same
        one."""
        last, _ = self._written.get(shard, (None, 0.0))
        turned = _turned(self._having(shard), shard.number)
        return sorted(turned, key=lambda leaf: (not leaf.alive, leaf is not last))

    async def read_first(self, shard: Shard, method: str, request: Message) -> Any:
        """The reply of the leaf that writes a shard, as far as is known, which the others follow; of another one where
        that is away."""
        return (await self.anywhere(method, request, self._writers(shard)))[0]

    async def _asked(self, leaf: Leaf, method: str, request: Message, timeout: float | None) -> Any:
        begun, answered = time.monotonic(), True
        try:
            return await leaf.call(method, request, timeout)
        except (ConnectionError, TimeoutError):
            # Until it answers the next look, which is one by gRPC, at once: past that, nothing is told of a leaf that
            # says what it said before, as one does whose PostgreSQL is away.
            leaf.alive, leaf.watched, answered = False, None, False
            self._unwatched.set()
            self.changed(None)
            raise
        finally:
            self.told(leaf.name, method, time.monotonic() - begun, answered)

    async def anywhere(self, method: str, request: Message, leaves: Sequence[Leaf] | None = None) -> tuple[Any, Leaf]:
        """The reply of the first leaf that gives one, and which it was."""
        failure: Exception | None = None
        for leaf in sorted(self.all if leaves is None else leaves, key=lambda leaf: not leaf.alive):
            try:
                return await self._asked(leaf, method, request, _WRITE), leaf
            except (ConnectionError, TimeoutError) as error:
                failure = failure or error
        raise failure or ConnectionError("there is no leaf for that: start one that takes the shard")


def _nobody(leaf: str, method: str, seconds: float, answered: bool) -> None:
    """Is told."""


def _turned(leaves: list[Leaf], by: int) -> list[Leaf]:
    """The same, beginning with another one."""
    at = by % len(leaves) if leaves else 0
    return leaves[at:] + leaves[:at]
