"""The services of bebr.v1: each RPC checks its request, hands the work to a thread and answers. Thin on purpose."""

from __future__ import annotations

import time
from concurrent.futures import Future

from bebr.about import info
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.collection.checks import check_delete, check_ids, check_payload_texts, check_query, check_rows
from bebr.collection.protocol import ModelInfo
from bebr.errors import CorruptFile
from bebr.index.raw import check_rescore
from bebr.serve import convert
from bebr.serve.admission import Budget
from bebr.serve.batching import MAX_BATCH, Answer, Key
from bebr.serve.limits import Limits
from bebr.serve.registry import CollectionRegistry, ServedCollection
from bebr.v1 import bebr_pb2 as pb

# Bytes of an answer while its reply is made: id and score, as found and as sent.
_ANSWER_BYTES = 32
# Bytes that a payload takes in a reply beside its text, and an answer with it.
_TEXT_BYTES = 6
_ROW_BYTES = _TEXT_BYTES + 12
# A reply of more answers is made in a thread: it would hold up the event loop.
_MANY = 4096


def elapsed_us(start: int) -> int:
    return (time.perf_counter_ns() - start) // 1000


class Collections:
    def __init__(self, registry: CollectionRegistry) -> None:
        self._registry = registry

    async def Create(self, request: pb.CreateCollectionRequest) -> pb.CreateCollectionResponse:
        def create() -> None:
            db = self._registry.db
            db.create_collection(request.name, db.model(request.model), keep=convert.keep_from_message(request.keep))

        await self._registry.write(request.name, create)
        collection = (await self._registry.served(request.name)).collection
        return pb.CreateCollectionResponse(model=convert.model_to_message(ModelInfo.of(collection.binarizer)))

    async def Get(self, request: pb.GetCollectionRequest) -> pb.GetCollectionResponse:
        served = await self._registry.served(request.name)
        model = convert.model_to_message(ModelInfo.of(served.collection.binarizer))
        return pb.GetCollectionResponse(model=model, rows=await served.read(served.collection.__len__))

    async def List(self, request: pb.ListCollectionsRequest) -> pb.ListCollectionsResponse:
        return pb.ListCollectionsResponse(names=await self._registry.read(self._registry.db.collections))

    async def Drop(self, request: pb.DropCollectionRequest) -> pb.DropCollectionResponse:
        await self._registry.write(request.name, lambda: self._registry.db.drop_collection(request.name))
        await self._registry.forget(request.name)
        return pb.DropCollectionResponse()

    async def Migrate(self, request: pb.MigrateCollectionRequest) -> pb.MigrateCollectionResponse:
        collection = (await self._registry.served(request.name)).collection

        def migrate() -> None:
            collection.migrate(self._registry.db.model(request.model))

        await self._registry.write(request.name, migrate)
        return pb.MigrateCollectionResponse()


class Models:
    def __init__(self, registry: CollectionRegistry) -> None:
        self._registry = registry

    async def Register(self, request: pb.RegisterModelRequest) -> pb.RegisterModelResponse:
        def register() -> str:
            try:
                bz = Binarizer.from_bytes(request.data, "data")
            except CorruptFile as error:  # nothing of ours is damaged: the request is wrong
                raise ValueError(str(error)) from error
            return self._registry.db.register_model(bz)

        return pb.RegisterModelResponse(digest=await self._registry.read(register))

    async def List(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        models = await self._registry.read(self._registry.db.models)
        return pb.ListModelsResponse(models=[convert.model_to_message(model) for model in models])

    async def Get(self, request: pb.GetModelRequest) -> pb.GetModelResponse:
        data = await self._registry.read(lambda: self._registry.db.model(request.digest).to_bytes())
        return pb.GetModelResponse(data=data)


class Points:
    def __init__(self, registry: CollectionRegistry, limits: Limits, budget: Budget, coalesce: bool) -> None:
        self._registry = registry
        self._limits = limits
        self._budget = budget
        self._coalesce = coalesce

    async def Upsert(self, request: pb.UpsertRequest) -> pb.UpsertResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)

        def begin() -> Future[int]:
            ids = convert.ids_from_bytes(request.ids, "ids")
            vectors = convert.vectors_from_message(request.vectors, "vectors")
            texts = check_payload_texts(request.payloads, len(ids))
            rows = check_rows(ids, vectors, None, served.collection.binarizer.input_dim)[:2]
            return served.collection.begin_upsert(*rows, texts)

        return pb.UpsertResponse(rows=await served.write(begin), elapsed_us=elapsed_us(start))

    async def Delete(self, request: pb.DeleteRequest) -> pb.DeleteResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)
        self._limits.check_ids(request.ids, "ids")

        def begin() -> Future[int]:
            filter = convert.filter_from_message(request)
            if filter is None:
                return served.collection.begin_delete(check_ids(convert.ids_from_bytes(request.ids, "ids")))
            check_delete(request.ids or None, filter)
            return served.collection.begin_delete_matching(filter)

        return pb.DeleteResponse(rows=await served.write(begin), elapsed_us=elapsed_us(start))

    async def Count(self, request: pb.CountRequest) -> pb.CountResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)
        snapshot = served.collection.snapshot
        rows = await served.read(lambda: snapshot.count(convert.filter_from_message(request)))
        return pb.CountResponse(rows=rows, elapsed_us=elapsed_us(start))

    async def Search(self, request: pb.SearchRequest) -> pb.SearchResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)
        model = await self._registry.query_model(served, request.model) if request.HasField("model") else None
        self._limits.check_search(request.queries.count, max(request.k, request.rescore))
        self._limits.check_ids(request.allow, "allow")
        candidates = served.collection.candidates(max(request.k, request.rescore))
        answers = request.queries.count * request.k + min(request.queries.count, MAX_BATCH) * candidates
        with self._budget.hold(_ANSWER_BYTES * answers, "the reply"):
            answer = await self._found(served, request, model)
            many = answer.hits.ids.size > _MANY
            if request.with_payloads:
                reply = await self._with_payloads(served, answer)
            elif many:
                reply = await served.read(lambda: convert.hits_to_message(answer.hits, None))
            else:
                reply = convert.hits_to_message(answer.hits, None)
            reply.elapsed_us = elapsed_us(start)
            reply.batch_queries = answer.batch
            return reply

    async def _found(self, served: ServedCollection, request: pb.SearchRequest, model: Binarizer | None) -> Answer:
        """The hits of a search."""
        oversampling, exact = convert.oversampling_from_message(request), request.exact
        rescore = check_rescore(request.rescore, request.k) if request.HasField("rescore") else None
        filter = None
        if request.HasField("filter"):  # looked at before its search has its turn: others need not wait for that
            filter = await served.read(lambda: served.matched(convert.filter_from_message(request)))
        key = Key(request.k, convert.query_mode(request.query), oversampling, exact, model, rescore, filter)
        dim = (model or served.collection.binarizer).query_dim

        def check() -> Floats:
            vectors = convert.vectors_from_message(request.queries, "queries")
            return check_query(vectors, key.k, key.query, oversampling, exact, dim)

        # A hop to a thread costs more than looking over a few vectors.
        vectors = check() if request.queries.count <= MAX_BATCH else await served.read(check)
        if self._coalesce and not request.HasField("allow"):
            return await served.batcher.search(vectors, key)
        allow: Ids | None = None
        if request.HasField("allow"):
            allow = await served.read(lambda: check_ids(convert.ids_from_bytes(request.allow, "allow"), "allow"))
        # In pieces, as the batcher does: others have their turn between them.
        parts = []
        for i in range(0, len(vectors), MAX_BATCH):
            parts.append(await served.search(vectors[i : i + MAX_BATCH], key, allow))
        return Answer(tuple(parts), min(len(vectors), MAX_BATCH))

    async def _with_payloads(self, served: ServedCollection, answer: Answer) -> pb.SearchResponse:
        """The reply with the payloads that the search itself saw, whatever was written since."""
        parts = [(part.snapshot, part.hits.ids.ravel()) for part in answer.parts]

        def total() -> int:
            return sum(int(snapshot.payload_bytes(ids).sum()) + _ROW_BYTES * len(ids) for snapshot, ids in parts)

        size = await served.read(total)
        self._limits.check_reply(size)
        with self._budget.hold(2 * size, "the reply"):

            def build() -> pb.SearchResponse:
                texts = [text for snapshot, ids in parts for text in snapshot.payload_texts(ids)]
                return convert.hits_to_message(answer.hits, texts)

            return await served.read(build)

    async def GetPayloads(self, request: pb.GetPayloadsRequest) -> pb.GetPayloadsResponse:
        served = await self._registry.served(request.collection)
        self._limits.check_ids(request.ids, "ids")
        snapshot = served.collection.snapshot

        def total() -> tuple[Ids, int]:
            ids = check_ids(convert.ids_from_bytes(request.ids, "ids"))
            return ids, int(snapshot.payload_bytes(ids).sum()) + _TEXT_BYTES * len(ids)

        ids, size = await served.read(total)
        self._limits.check_reply(size)
        with self._budget.hold(2 * size, "the reply"):
            return await served.read(
                lambda: pb.GetPayloadsResponse(payloads=served.collection.payload_texts(ids, snapshot))
            )


class Admin:
    def __init__(self, registry: CollectionRegistry, limits: Limits, coalesce: bool) -> None:
        self._registry = registry
        self._limits = limits
        self._coalesce = coalesce
        self._start = time.perf_counter_ns()

    async def Info(self, request: pb.InfoRequest) -> pb.InfoResponse:
        about, limits = info(), self._limits
        return pb.InfoResponse(
            version=about["version"],
            isa=about["isa"],
            threads=about["threads"],
            uptime_us=elapsed_us(self._start),
            limits=pb.Limits(
                message_bytes=limits.message_bytes,
                queries=limits.queries,
                k=limits.k,
                answers=limits.answers,
                calls=limits.calls,
                ids=limits.ids,
                memory_bytes=limits.memory_bytes,
            ),
            coalesce=self._coalesce,
        )

    async def Stats(self, request: pb.StatsRequest) -> pb.StatsResponse:
        served = await self._registry.served(request.collection)
        stats, batching = await served.read(served.collection.stats), served.batcher.stats
        return pb.StatsResponse(
            model=convert.model_to_message(stats.model),
            rows=stats.rows,
            segments=stats.segments,
            tail_rows=stats.tail_rows,
            dead_rows=stats.dead_rows,
            bytes_on_disk=stats.bytes_on_disk,
            kept_bytes=stats.kept_bytes,
            target=stats.target,
            rows_behind=stats.rows_behind,
            batching=pb.Batching(
                requests=batching.requests,
                queries=batching.queries,
                batches=batching.batches,
                largest=batching.largest,
            ),
        )

    async def Flush(self, request: pb.FlushRequest) -> pb.FlushResponse:
        served = await self._registry.served(request.collection)
        await self._registry.write(request.collection, served.collection.flush)
        return pb.FlushResponse()
