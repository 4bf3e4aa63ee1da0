"""A collection in shards goes over to another producer's vectors, shard by shard, the first one last.

Each shard is cut over by its owner, in one transaction (`bebr.store.upkeep.succession`), and keeps its old vectors
until all are. So queries of either model find all rows at any moment, and a search never finds some by old vectors and
some by new ones: it names its model (`Known.model_at`). Which model the collection has, its first shard says. A call
that dies on the way is repeated: what is done already is passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from bebr.cluster.known import Cluster, Known
from bebr.collection.checks import check_none_behind
from bebr.v1 import bebr_pb2 as pb

_CUTOVER, _ROLLBACK = "Collections/Cutover", "Collections/Rollback"


class Succession:
    """Of a collection of several shards. Upserts by way of this root wait meanwhile; one by way of another root may
    make a row that has no new vector yet: its shard refuses then, and the others are taken back."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self._name = cluster, name

    async def cutover(self, request: pb.CutoverRequest) -> pb.CutoverResponse:
        """As of `bebr.store.upkeep.succession.Succession.cutover`."""
        known = await self._begun()
        both = [number for number, one in enumerate(known.said) if one.streamed or one.former]
        left = [number for number in both if known.said[number].streamed]
        never = [number for number in range(len(known.shards)) if number not in both and not known.is_over(number)]
        if never:
            raise ValueError(f"shards {_listed(never)} take no vectors of the new model yet: migrate() once more first")
        reply: pb.CutoverResponse | None = None
        async with self._cluster.gate(known).held():
            await self._checked(known, left, _CUTOVER, request.bare)
            if not request.check:
                reply = await self._cut_over(known, left, request.bare)
            if not request.check and not request.keep_old:
                removed = await self._removed(known, both, _CUTOVER, pb.CutoverRequest(name=self._name))
                reply = reply if removed is None else removed
        return pb.CutoverResponse(model=known.model, id=known.id) if reply is None else reply

    async def rollback(self, request: pb.RollbackRequest) -> pb.RollbackResponse:
        """As of `bebr.store.upkeep.succession.Succession.rollback`. Where some shards are cut over, these go back."""
        known = await self._begun()
        over = [number for number, one in enumerate(known.said) if one.former]
        gone = [number for number in range(len(known.shards)) if known.is_over(number) and number not in over]
        if over and gone:
            raise ValueError(f"shards {_listed(gone)} have removed their old vectors: cutover() again ends it")
        reply: pb.RollbackResponse | None = None
        async with self._cluster.gate(known).held():
            await self._checked(known, over, _ROLLBACK, request.bare)
            if over and not request.check:
                said = [known.said[number] for number in over]
                back = [pb.RollbackRequest(name=self._name, bare=request.bare, to=one.former) for one in said]
                reply = await self._each(known, over, _ROLLBACK, back)
            elif not request.check and request.to not in known.models:
                streamed = [number for number, one in enumerate(known.said) if one.streamed]
                reply = await self._removed(known, streamed, _ROLLBACK, pb.RollbackRequest(name=self._name))
        return pb.RollbackResponse(model=known.model, id=known.id) if reply is None else reply

    async def _begun(self) -> Known:
        known = await self._cluster.decided(self._name)
        if not any(one.streamed or one.former for one in known.said):
            raise ValueError(f"collection {self._name!r} is not being migrated by streamed vectors")
        return known

    async def _checked(self, known: Known, numbers: Sequence[int], method: str, bare: bool) -> None:
        """Has all owners say whether they would refuse, before one does it. What is refused for rows that are behind is
        said of those of all shards."""
        kind = pb.CutoverRequest if method == _CUTOVER else pb.RollbackRequest
        request = kind(name=self._name, bare=bare, check=True)
        works = [self._cluster.write(known.shards[number], method, request) for number in numbers]
        said = await asyncio.gather(*works, return_exceptions=True)
        errors = [one for one in said if isinstance(one, BaseException)]
        errors.sort(key=lambda one: type(one) is ValueError)
        if not errors:
            return
        if not bare and type(errors[0]) is ValueError:
            stats = await self._cluster.read_first(known.shards, "Admin/Stats", pb.StatsRequest(collection=self._name))
            behind, rows = sum(stats[number].rows_behind for number in numbers), sum(one.rows for one in stats)
            one = known.said[numbers[0]]
            model, call = (one.streamed, "cutover") if method == _CUTOVER else (one.former, "rollback")
            check_none_behind(behind, rows, model, call)
        raise errors[0]

    async def _cut_over(self, known: Known, left: Sequence[int], bare: bool) -> Any:
        """All that are left, which keep their old vectors, or none."""
        request = pb.CutoverRequest(name=self._name, bare=bare, keep_old=True)
        try:
            return await self._each(known, left, _CUTOVER, [request] * len(left))
        except ValueError:  # a row was written by way of another root, and has no new vector yet
            back = [pb.RollbackRequest(name=self._name, to=known.said[number].model.digest) for number in left]
            with contextlib.suppress(Exception):
                await self._each(known, left, _ROLLBACK, back)
            await self._checked(known, left, _CUTOVER, bare)  # says it of a collection that is as it was
            raise

    async def _each(self, known: Known, numbers: Sequence[int], method: str, requests: Sequence[Any]) -> Any:
        """Has some shards do it, the first one of the collection once the others have; its reply, None where it is none
        of them."""
        pairs = [(known.shards[number], request) for number, request in zip(numbers, requests, strict=True)]
        reply = None
        for some in ([pair for pair in pairs if pair[0].number], [pair for pair in pairs if not pair[0].number]):
            try:
                replies = await self._cluster.write_all([shard for shard, _ in some], method, [of for _, of in some])
            finally:
                self._cluster.note_exchanged(self._name, [shard for shard, _ in some])
            reply = replies[0] if some and not some[0][0].number else None
        return reply

    async def _removed(self, known: Known, numbers: Sequence[int], method: str, request: Any) -> Any:
        """The same of what removes vectors; what is gone already, since an answer was lost and it was asked again, is
        no error."""
        try:
            return await self._each(known, numbers, method, [request] * len(numbers))
        except ValueError:
            now = await self._cluster.decided(self._name)
            if any(now.said[number].streamed or now.said[number].former for number in numbers):
                raise
            return None


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
