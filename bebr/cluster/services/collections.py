"""Collections are made, dropped and changed: shard by shard."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from bebr.cluster.known import Cluster, Known, addressed
from bebr.cluster.leaf import Leaf
from bebr.cluster.names import Shard, shards_of
from bebr.cluster.succession import Succession
from bebr.collection.protocol import AlreadyExists
from bebr.v1 import bebr_pb2 as pb

# Seconds within which the shards of a collection are made by whoever began with the last one, and between looks at
# whether they are.
_MAKING, _LOOK = 5.0, 0.1


class Collections:
    """`of`: into how many shards those are split that are made here."""

    def __init__(self, cluster: Cluster, of: int) -> None:
        self._cluster, self._of = cluster, of

    async def Create(self, request: pb.CreateCollectionRequest) -> pb.CreateCollectionResponse:
        """The first shard comes last: a collection whose first shard is not there does not exist. Where the last one
        is there already, somebody else is making it, whose collection is waited for, or has left it behind."""
        shards, end = shards_of(request.name, self._of), time.monotonic() + _MAKING
        while True:
            await self._cluster.leaves.look()
            if request.name in self._cluster.names():
                raise AlreadyExists(
                    f"collection {request.name!r} already exists: use collection({request.name!r}) or drop it first"
                )
            if self._of > 1 and request.name in self._cluster.leaves.aliases():
                raise AlreadyExists(f"{request.name!r} is an alias: drop_alias it first")
            try:
                return await self._made(shards, request)
            except _Half as half:
                if time.monotonic() > end:
                    raise AlreadyExists(
                        f"shard {half.shard} is left of a collection that was not made, or dropped, to the end: "
                        f"drop_collection({request.name!r}) first"
                    ) from half
            await asyncio.sleep(_LOOK)

    async def _made(self, shards: list[Shard], request: pb.CreateCollectionRequest) -> pb.CreateCollectionResponse:
        """All shards, or none."""
        leaves = self._cluster.leaves
        self._cluster.forget(request.name)
        made: list[Shard] = []
        reply = pb.CreateCollectionResponse()
        try:
            for shard in reversed(shards):
                reply, leaf = await self._create(shard, request)
                made.append(shard)
                leaves.note_made(shard, leaf)
        except BaseException:
            with contextlib.suppress(Exception):
                for shard in reversed(made):
                    await self._drop(shard)
            raise
        return reply

    async def _create(self, shard: Shard, request: pb.CreateCollectionRequest) -> tuple[Any, Leaf]:
        leaves = self._cluster.leaves
        takers = leaves.takers(shard)
        if not takers:
            raise ValueError(f"no leaf takes shard {shard.number} of {shard.name!r}: start one with --shards that does")
        try:
            return await leaves.anywhere("Collections/Create", addressed(request, shard), takers)
        except AlreadyExists as error:
            if shard.of == 1:
                raise
            raise _Half(shard) from error

    async def Get(self, request: pb.GetCollectionRequest) -> pb.GetCollectionResponse:
        cluster = self._cluster
        known = await (cluster.there(request.name) if request.allow_partial else cluster.described(request.name))
        first = known.said[0]
        about = {"text": first.text, "streamed": first.streamed, "former": first.former}
        return pb.GetCollectionResponse(model=known.model, rows=known.rows, id=known.id, **about)

    async def List(self, request: pb.ListCollectionsRequest) -> pb.ListCollectionsResponse:
        return pb.ListCollectionsResponse(names=self._cluster.names())

    async def Drop(self, request: pb.DropCollectionRequest) -> pb.DropCollectionResponse:
        """The first shard goes first; also what is left of a collection without one."""
        await self._cluster.leaves.look()
        self._cluster.forget(request.name)
        shards = sorted((one for one in self._cluster.leaves.shards() if one.name == request.name), key=str)
        if shards and shards[0].number and not self._cluster.leaves.are_all(request.name):
            raise ConnectionError(
                f"the first shard of {request.name!r} is away, nothing was dropped: {self._cluster.leaves.silence}"
            )
        if not shards:
            await self._cluster.shards(request.name)  # which says why
            raise KeyError(f"no collection {request.name!r}")
        for shard in sorted(shards, key=lambda one: one.number):
            await self._drop(shard)
        return pb.DropCollectionResponse()

    async def _drop(self, shard: Shard) -> None:
        leaves = self._cluster.leaves
        having = [leaf for leaf in leaves.all if shard in leaf.shards]
        await leaves.anywhere("Collections/Drop", pb.DropCollectionRequest(name=str(shard)), having)
        leaves.note_dropped(shard)

    # Names of collections that are not split

    async def SetAlias(self, request: pb.SetAliasRequest) -> pb.SetAliasResponse:
        shard = (await self._whole(request.collection, "alias")).shards[0]
        target = pb.SetAliasRequest(alias=request.alias, collection=shard.name)
        if request.alias in self._cluster.names():
            raise AlreadyExists(f"{request.alias!r} is a collection: want a name that none has")
        await self._cluster.leaves.write(shard, "Collections/SetAlias", target)
        self._cluster.leaves.note_aliases({**self._cluster.leaves.aliases(), request.alias: shard.name})
        self._cluster.forget(request.alias)
        return pb.SetAliasResponse()

    async def DropAlias(self, request: pb.DropAliasRequest) -> pb.DropAliasResponse:
        leaves = self._cluster.leaves
        await leaves.anywhere("Collections/DropAlias", request)
        leaves.note_aliases({alias: of for alias, of in leaves.aliases().items() if alias != request.alias})
        self._cluster.forget(request.alias)
        return pb.DropAliasResponse()

    async def ListAliases(self, request: pb.ListAliasesRequest) -> pb.ListAliasesResponse:
        self._cluster.leaves.check_heard()
        return pb.ListAliasesResponse(aliases=self._cluster.leaves.aliases())

    # Changes

    async def Truncate(self, request: pb.TruncateRequest) -> pb.TruncateResponse:
        replies = await self._each(request.name, "Collections/Truncate", request)
        return pb.TruncateResponse(rows=sum(reply.rows for reply in replies))

    async def Migrate(self, request: pb.MigrateCollectionRequest) -> pb.MigrateCollectionResponse:
        if not request.streamed:
            await self._each(request.name, "Collections/Migrate", request)
            return pb.MigrateCollectionResponse()
        known = await self._cluster.decided(request.name)
        self._cluster.forget(request.name)
        models = {shard: known.model_at(shard.number, request.model) for shard in known.shards}
        for shard in known.shards:
            if known.is_over(shard.number) and known.said[shard.number].model.digest == models[shard]:
                del models[shard]  # a cutover that was not ended has come to it: it has that model
        parts = [pb.MigrateCollectionRequest(name=request.name, model=one, streamed=True) for one in models.values()]
        await self._cluster.write_all(list(models), "Collections/Migrate", parts)
        return pb.MigrateCollectionResponse()

    async def Retrain(self, request: pb.RetrainCollectionRequest) -> pb.RetrainCollectionResponse:
        await self._each(request.name, "Collections/Retrain", request)
        return pb.RetrainCollectionResponse()

    async def Cutover(self, request: pb.CutoverRequest) -> pb.CutoverResponse:
        shards = await self._cluster.shards(request.name)
        if len(shards) > 1:
            return await Succession(self._cluster, request.name).cutover(request)
        self._cluster.forget(request.name)
        reply: pb.CutoverResponse = await self._cluster.write(shards[0], "Collections/Cutover", request)
        return reply

    async def Rollback(self, request: pb.RollbackRequest) -> pb.RollbackResponse:
        known = await self._cluster.decided(request.name)
        if known.split:
            return await Succession(self._cluster, request.name).rollback(request)
        self._cluster.forget(request.name)
        request.to = (
            request.to or known.said[0].former
        )  # asked again, since an answer was lost, it goes no further back
        reply: pb.RollbackResponse = await self._cluster.write(known.shards[0], "Collections/Rollback", request)
        return reply

    async def _each(self, name: str, method: str, request: Any) -> list[Any]:
        shards = await self._cluster.shards(name)
        self._cluster.forget(name)
        return await self._cluster.write_all(shards, method, [request] * len(shards))

    async def _whole(self, name: str, what: str) -> Known:
        return (await self._cluster.known(name)).whole(what)


class _Half(Exception):
    """A shard is there of a collection that is not."""

    def __init__(self, shard: Shard) -> None:
        super().__init__(str(shard))
        self.shard = shard
