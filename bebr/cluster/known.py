"""The collections of a cluster as a root knows them: their shards, and what leaves say of these."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from google.protobuf.message import Message

from bebr.cluster.gate import Gate
from bebr.cluster.leaf import ELSEWHERE, Leaf
from bebr.cluster.leaves import Leaves
from bebr.cluster.names import Shard
from bebr.cluster.racing import together
from bebr.errors import CorruptFile
from bebr.v1 import bebr_pb2 as pb

M = TypeVar("M", bound=Message)

# Seconds for which what leaves said of a collection is taken to be so.
FRESH = 1.0


@dataclass(frozen=True)
class Known:
    """A collection of these shards, in order, and what was said of each. `earlier`: models that shards had before, of
    the same vectors."""

    shards: tuple[Shard, ...]
    said: tuple[pb.GetCollectionResponse, ...]
    earlier: frozenset[str] = frozenset()

    @property
    def split(self) -> bool:
        return len(self.shards) > 1

    @property
    def model(self) -> pb.ModelInfo:
        """That of the first shard: models differ only while they are being changed, or where each shard trains one."""
        return self.said[0].model

    # Shards are cut over to another producer's vectors one after the other. Until all are, each has both.

    @property
    def _new(self) -> set[str]:
        """The models of the vectors that are streamed, or were, while the old ones are there."""
        return {one.model.digest if one.former else one.streamed for one in self.said if one.former or one.streamed}

    def is_over(self, number: int) -> bool:
        """Whether a shard was cut over, and others have both still."""
        one = self.said[number]
        return bool(one.former) or one.model.digest in self._new

    def _old(self, number: int) -> str:
        """The model of a shard's old vectors, or of all where none are streamed; empty where they were removed."""
        one = self.said[number]
        return str(one.former if self.is_over(number) else one.model.digest)

    @property
    def models(self) -> frozenset[str]:
        """Of the old vectors, of all shards: each may have trained its own."""
        return (self.earlier | {self._old(number) for number in range(len(self.shards))}) - self._new - {""}

    def serves(self, model: str) -> bool:
        """Whether shards, of several, are to answer queries of a model; empty for their own."""
        return self.split and (not model or model in self.models | self._new)

    def model_at(self, number: int, model: str) -> str:
        """Under which model a shard is asked for what the collection is asked for under `model`. It says of which
        producer the vectors are: a shard that was cut over since then finds them by it or refuses it."""
        return (self._old(number) or model) if model in self.models else model

    def id_at(self, number: int, id: int) -> int:
        """The same of the collection's number. It has none of a shard that was cut over while the first one was not:
        with it, that shard would take any vectors for its own."""
        return int(self.said[number].id) if id == self.id and self.is_over(number) == self.is_over(0) else id

    def follows(self, before: Known) -> Known:
        """The same, which had the models before that it had in `before`, where that is of the same vectors."""
        cut = any(one.former for one in (*self.said, *before.said))
        same = (before.shards, before.id) == (self.shards, self.id) and not cut
        return replace(self, earlier=before.models) if same else self

    @property
    def id(self) -> int:
        """That of the first shard: the collection's, to clients."""
        return int(self.said[0].id)

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.said)

    def whole(self, what: str) -> Known:
        """Itself. ``ValueError`` where it is split, and `what` is not there for shards."""
        if self.split:
            raise ValueError(
                f"collection {self.shards[0].name!r} is split into {len(self.shards)} shards, over which there is no "
                f"{what} yet: want a collection of one"
            )
        return self


class Cluster:
    """Of a root. Errors are the Python exceptions that a leaf's would be, and speak of the collection, not of the
    shard. `learned`: told of what all shards of a collection say, and when; or of None, where some did not say, or it
    is old."""

    def __init__(self, leaves: Leaves) -> None:
        self.leaves = leaves
        self.learned: Callable[[str, Known | None, float], None] = lambda name, known, when: None
        self._known: dict[str, tuple[Known, float]] = {}
        self._states: dict[str, dict[Leaf, int]] = {}  # of the leaves of what is known, from before they said it
        self._gates: dict[tuple[Shard, ...], Gate] = {}

    def names(self) -> list[str]:
        """Sorted; one whose first shard is nowhere was not made to the end, or is being dropped. ``ConnectionError``
        where no leaf has said what it has."""
        self.leaves.check_heard()
        there = self.leaves.shards()
        first = {shard.name for shard in there if shard.number == 0}
        rest = {shard.name for shard in there} - first
        return sorted(first | {name for name in rest if not self.leaves.are_all(name)})

    async def shards(self, name: str) -> tuple[Shard, ...]:
        """Of a collection, or of an alias. ``KeyError`` if there is none; ``ConnectionError`` where that is not known,
        since leaves are away."""
        found = self._found(name)
        if not found:
            await self.leaves.look()  # it may have been made by way of another root
            found = self._found(name)
        if not found:
            if not self.leaves.are_all(self.leaves.aliases().get(name, name)):
                raise ConnectionError(f"whether there is a collection {name!r} is not known: {self.leaves.silence}")
            raise KeyError(f"no collection {name!r}")
        return found

    def _found(self, name: str) -> tuple[Shard, ...]:
        """Where its first shard is away, and not known to be nowhere, the others say how many there are."""
        name = self.leaves.aliases().get(name, name)
        there = [shard for shard in self.leaves.shards() if shard.name == name]
        first = [shard for shard in there if shard.number == 0]
        if there and not first and not self.leaves.are_all(name):
            first = there
        splits = sorted({shard.of for shard in first})
        if len(splits) > 1:
            where = [
                ", ".join(
                    leaf.name for leaf in self.leaves.all if any(one.of == of for one in leaf.shards & set(first))
                )
                for of in splits[:2]
            ]
            raise CorruptFile(
                f"collection {name!r} is split into {splits[0]} (at {where[0]}) and into {splits[1]} shards (at "
                f"{where[1]}): take away who is no leaf of this cluster, or drop the collection"
            )
        return tuple(Shard(name, number, splits[0]) for number in range(splits[0])) if splits else ()

    async def known(self, name: str) -> Known:
        """What leaves say of a collection, or said within the last second, or since when none of them has changed; see
        `there`."""
        before, when = self._known.get(name, (None, 0.0))
        if before is not None and (time.monotonic() - when <= FRESH or self._is_so(name, before)):
            return before
        return await self.there(name)

    def _is_so(self, name: str, known: Known) -> bool:
        """Whether what is known was still so at the last look, within the last second."""
        states = self._states_of(known.shards)
        if not states or 0 in states.values() or states != self._states.get(name):
            return False
        looked = min(leaf.looked for leaf in states)
        if time.monotonic() - looked > FRESH or not all(leaf.alive for leaf in states):
            return False
        self._known[name] = known, looked
        self.learned(name, known, looked)
        return True

    def _states_of(self, shards: Sequence[Shard]) -> dict[Leaf, int]:
        """Of all leaves that have some of these, at their last looks."""
        return {leaf: leaf.state for leaf in self.leaves.all if not leaf.shards.isdisjoint(shards)}

    async def there(self, name: str) -> Known:
        """What leaves say of a collection, now. Of a shard that does not answer, it is what it said before, or else
        what another one says, without rows and number; `described` is for who wants to know of all."""
        before, _ = self._known.get(name, (None, 0.0))
        shards = await self.shards(name)
        states = self._states_of(shards)
        request = pb.GetCollectionRequest(name=name)
        works = [self.read(shard, "Collections/Get", request) for shard in shards]
        said = await asyncio.gather(*works, return_exceptions=True)
        there = [one for one in said if not isinstance(one, BaseException)]
        for error in said:
            if isinstance(error, BaseException) and not (there and isinstance(error, ELSEWHERE)):
                raise error
        other = pb.GetCollectionResponse()
        other.CopyFrom(there[0])
        other.rows = other.id = 0
        instead = before.said if before is not None and before.shards == shards else (other,) * len(shards)
        pairs = zip(said, instead, strict=True)
        known = Known(shards, tuple(b if isinstance(one, BaseException) else one for one, b in pairs))
        return self._kept(name, known, states, len(there) == len(said))

    async def described(self, name: str) -> Known:
        """What leaves say of all shards of a collection, now."""
        shards = await self.shards(name)
        states = self._states_of(shards)
        said = await self.read_all(shards, "Collections/Get", pb.GetCollectionRequest(name=name))
        return self._kept(name, Known(shards, tuple(said)), states)

    async def decided(self, name: str) -> Known:
        """The same of those that write the shards: nothing was done there that they have not heard of."""
        shards = await self.shards(name)
        states = self._states_of(shards)
        said = await self.read_first(shards, "Collections/Get", pb.GetCollectionRequest(name=name))
        return self._kept(name, Known(shards, tuple(said)), states)

    def _kept(self, name: str, known: Known, states: dict[Leaf, int], whole: bool = True) -> Known:
        """`states`: from before they were asked; `whole`: all shards have said so."""
        before, _ = self._known.get(name, (None, 0.0))
        known = known if before is None else known.follows(before)
        self._known[name] = known, time.monotonic()
        self._states[name] = states if whole else {}
        self.learned(name, known if whole else None, time.monotonic())
        return known

    def gate(self, known: Known) -> Gate:
        """What upserts of a collection pass."""
        return self._gates.setdefault(known.shards, Gate())

    def note_exchanged(self, name: str, shards: Sequence[Shard]) -> None:
        """They have, or may have, the vectors of another producer."""
        self.forget(name)
        for shard in shards:
            self.leaves.note_exchanged(shard)

    def forget(self, name: str) -> None:
        """What is known is old: it was dropped, or changed."""
        self._states.pop(name, None)
        if name in self._known:
            self._known[name] = self._known[name][0], -float("inf")
        self.learned(name, None, 0.0)

    async def read(self, shard: Shard, method: str, request: Message) -> Any:
        with _said_of(shard):
            return await self.leaves.read(shard, method, addressed(request, shard))

    async def read_first(self, shards: Sequence[Shard], method: str, request: Message) -> list[Any]:
        """The replies of all shards to the same request, each of the leaf that writes it (`Leaves.read_first`)."""

        async def one(shard: Shard) -> Any:
            with _said_of(shard):
                return await self.leaves.read_first(shard, method, addressed(request, shard))

        return await together([one(shard) for shard in shards])

    async def write(self, shard: Shard, method: str, request: Message) -> Any:
        with _said_of(shard):
            return await self.leaves.write(shard, method, addressed(request, shard))

    async def read_all(self, shards: Sequence[Shard], method: str, request: Message) -> list[Any]:
        """The replies of all shards to the same request."""
        return await self.read_each(shards, method, [request] * len(shards))

    async def read_each(self, shards: Sequence[Shard], method: str, requests: Sequence[Message]) -> list[Any]:
        """The replies of shards to a request each; the first error cancels the others."""
        pairs = zip(shards, requests, strict=True)
        return await together([self.read(shard, method, request) for shard, request in pairs])

    async def write_all(self, shards: Sequence[Shard], method: str, requests: Sequence[Message]) -> list[Any]:
        """The replies of shards to a request each. All are waited for; the first error says which of them did it."""
        results = await asyncio.gather(
            *(self.write(shard, method, request) for shard, request in zip(shards, requests, strict=True)),
            return_exceptions=True,
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            pairs = zip(shards, results, strict=True)
            raise _partly(failed[0], [shard.number for shard, result in pairs if not isinstance(result, BaseException)])
        return list(results)


def addressed(request: M, shard: Shard) -> M:
    """The request, of a shard."""
    field = "collection" if "collection" in request.DESCRIPTOR.fields_by_name else "name"
    if getattr(request, field) == str(shard):
        return request
    other: M = type(request)()
    other.CopyFrom(request)
    setattr(other, field, str(shard))
    return other


@contextmanager
def _said_of(shard: Shard) -> Iterator[None]:
    """Errors name the collection in place of its shard."""
    try:
        yield
    except Exception as error:
        if shard.of == 1 or not (error.args and isinstance(error.args[0], str)) or isinstance(error, OSError):
            raise
        raise type(error)(error.args[0].replace(str(shard), shard.name)) from error


def _partly(error: BaseException, done: list[int]) -> BaseException:
    """The error of a write that some shards did."""
    if not done or not error.args:
        return error
    shards = f"shard {done[0]}" if len(done) == 1 else f"shards {', '.join(map(str, done))}"
    return type(error)(f"{error.args[0]} (what is of {shards} is done; repeat the call)")
