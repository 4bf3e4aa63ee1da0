"""Collections are made, listed, migrated, dropped; names stand for others."""

from __future__ import annotations

from contextlib import nullcontext

from bebr.collection.protocol import ModelInfo
from bebr.serve import convert
from bebr.serve.admission import Budget
from bebr.serve.registry import CollectionRegistry
from bebr.v1 import bebr_pb2 as pb


class Collections:
    def __init__(self, registry: CollectionRegistry, budget: Budget) -> None:
        self._registry = registry
        self._budget = budget

    async def Create(self, request: pb.CreateCollectionRequest) -> pb.CreateCollectionResponse:
        def create() -> None:
            db = self._registry.db
            bz = db.model(request.model) if request.model or not request.dim else None
            db.create_collection(request.name, bz, **convert.creation_from_message(request))

        if not self._registry.taken(request.name):
            texts = ", ".join(self._registry.taken.texts)
            raise ValueError(f"name is {request.name!r}, which is none of those of this server ({texts})")
        there = await self._registry.read(self._registry.db.collections)
        with nullcontext() if request.name in there else self._registry.budgets.new_collection(len(there)):
            await self._registry.write(request.name, create)
        collection = (await self._registry.served(request.name)).collection
        model = convert.model_to_message(ModelInfo.of(collection.binarizer))
        return pb.CreateCollectionResponse(model=model, id=collection.number)

    async def Get(self, request: pb.GetCollectionRequest) -> pb.GetCollectionResponse:
        served = await self._registry.served(request.name)
        snapshot, text = served.collection.snapshot, served.collection.text  # of one moment
        model = convert.model_to_message(ModelInfo.of(snapshot.bz))
        rows = await served.read(snapshot.__len__)
        reply = pb.GetCollectionResponse(model=model, rows=rows, id=snapshot.collection, text=text)
        if (beside := snapshot.successor) is not None:
            setattr(reply, "former" if beside.former else "streamed", beside.rows.bz.digest)
        return reply

    async def List(self, request: pb.ListCollectionsRequest) -> pb.ListCollectionsResponse:
        registry, front = self._registry, self._registry.front
        state = 0 if front is None else front.state
        names, aliases = await registry.read(lambda: (registry.names(), registry.db.aliases()))
        reply = pb.ListCollectionsResponse(names=names, versions=map(registry.version, names), state=state)
        if request.with_aliases:
            reply.aliases.CopyFrom(pb.ListAliasesResponse(aliases=aliases))
        if front is not None:
            front.keep_listing(state, request.SerializeToString(), reply.SerializeToString())
        return reply

    async def Drop(self, request: pb.DropCollectionRequest) -> pb.DropCollectionResponse:
        await self._registry.write(request.name, lambda: self._registry.db.drop_collection(request.name))
        await self._registry.forget(request.name)
        return pb.DropCollectionResponse()

    async def Migrate(self, request: pb.MigrateCollectionRequest) -> pb.MigrateCollectionResponse:
        collection = (await self._registry.served(request.name)).collection

        def migrate() -> None:
            self._registry.budgets.check_bytes(0, "a migration")
            model = self._registry.db.model(request.model)
            collection.begin_stream(model) if request.streamed else collection.migrate(model)

        await self._registry.write(request.name, migrate)
        return pb.MigrateCollectionResponse()

    async def Cutover(self, request: pb.CutoverRequest) -> pb.CutoverResponse:
        collection = (await self._registry.served(request.name)).collection

        def cutover() -> None:
            if request.check:
                collection.check_exchange("cutover", bare=request.bare)
            else:
                collection.cutover(bare=request.bare, keep_old=request.keep_old)

        await self._registry.write(request.name, cutover)
        return pb.CutoverResponse(
            model=convert.model_to_message(ModelInfo.of(collection.binarizer)), id=collection.number
        )

    async def Rollback(self, request: pb.RollbackRequest) -> pb.RollbackResponse:
        collection = (await self._registry.served(request.name)).collection

        def rollback() -> None:
            if request.check:
                collection.check_exchange("rollback", bare=request.bare)
            elif not request.to or request.to != collection.binarizer.digest:
                collection.rollback(bare=request.bare)

        await self._registry.write(request.name, rollback)
        model = convert.model_to_message(ModelInfo.of(collection.binarizer))
        return pb.RollbackResponse(model=model, id=collection.number)

    async def Truncate(self, request: pb.TruncateRequest) -> pb.TruncateResponse:
        served = await self._registry.served(request.name)
        return pb.TruncateResponse(rows=await self._registry.write(request.name, served.collection.truncate))

    async def Retrain(self, request: pb.RetrainCollectionRequest) -> pb.RetrainCollectionResponse:
        collection = (await self._registry.served(request.name)).collection
        self._registry.budgets.check_bytes(0, "a migration")
        with self._budget.hold(collection.training_bytes, "training"):
            await self._registry.write(request.name, lambda: collection.retrain(request.bytes_per_vector or None))
        return pb.RetrainCollectionResponse()

    async def SetAlias(self, request: pb.SetAliasRequest) -> pb.SetAliasResponse:
        await self._registry.write(
            request.alias, lambda: self._registry.db.set_alias(request.alias, request.collection)
        )
        return pb.SetAliasResponse()

    async def DropAlias(self, request: pb.DropAliasRequest) -> pb.DropAliasResponse:
        await self._registry.write(request.alias, lambda: self._registry.db.drop_alias(request.alias))
        return pb.DropAliasResponse()

    async def ListAliases(self, request: pb.ListAliasesRequest) -> pb.ListAliasesResponse:
        return pb.ListAliasesResponse(aliases=await self._registry.read(self._registry.db.aliases))
