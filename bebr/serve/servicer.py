"""The services of bebr.v1: each RPC checks its request, hands the work to a thread and answers. Thin on purpose."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc

import bebr
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.collection.checks import check_ids, check_query, check_rows, load_payload
from bebr.collection.protocol import ModelInfo
from bebr.serve import convert
from bebr.serve.batching import MAX_BATCH, Answer, Key
from bebr.serve.limits import Limits
from bebr.serve.registry import CollectionRegistry, ServedCollection
from bebr.serve.status import status_of
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc

_log = logging.getLogger("bebr.serve")
S = TypeVar("S")
Q = TypeVar("Q")
R = TypeVar("R")


def answers(method: Callable[[S, Q], Awaitable[R]]) -> Callable[[S, Q, Any], Awaitable[R]]:
    """An RPC from a method that takes the request: errors become status codes, faults of the server go to its log."""

    @functools.wraps(method)
    async def wrapped(self: S, request: Q, context: Any) -> R:
        try:
            return await method(self, request)
        except Exception as error:
            known = status_of(error)
            if known is None:
                _log.exception("%s failed", method.__qualname__)
                known = grpc.StatusCode.INTERNAL, f"{type(error).__name__} in the server: its log has the details"
        await context.abort(*known)
        raise AssertionError("abort raises")

    return wrapped


def elapsed_us(start: int) -> int:
    return (time.perf_counter_ns() - start) // 1000


class Collections(rpc.CollectionsServicer):  # type: ignore[misc]
    def __init__(self, registry: CollectionRegistry) -> None:
        self._registry = registry

    @answers
    async def Create(self, request: pb.CreateCollectionRequest) -> pb.CreateCollectionResponse:
        def create() -> ModelInfo:
            bz = self._registry.db.model(request.model)
            return ModelInfo.of(self._registry.db.create_collection(request.name, bz).binarizer)

        return pb.CreateCollectionResponse(model=convert.model_to_message(await self._registry.read(create)))

    @answers
    async def Get(self, request: pb.GetCollectionRequest) -> pb.GetCollectionResponse:
        collection = (await self._registry.served(request.name)).collection
        model = convert.model_to_message(ModelInfo.of(collection.binarizer))
        return pb.GetCollectionResponse(model=model, rows=await self._registry.read(collection.__len__))

    @answers
    async def List(self, request: pb.ListCollectionsRequest) -> pb.ListCollectionsResponse:
        return pb.ListCollectionsResponse(names=await self._registry.read(self._registry.db.collections))

    @answers
    async def Drop(self, request: pb.DropCollectionRequest) -> pb.DropCollectionResponse:
        await self._registry.read(lambda: self._registry.db.drop_collection(request.name))
        return pb.DropCollectionResponse()


class Models(rpc.ModelsServicer):  # type: ignore[misc]
    def __init__(self, registry: CollectionRegistry) -> None:
        self._registry = registry

    @answers
    async def Register(self, request: pb.RegisterModelRequest) -> pb.RegisterModelResponse:
        def register() -> str:
            return self._registry.db.register_model(Binarizer.from_bytes(request.data, "data"))

        return pb.RegisterModelResponse(digest=await self._registry.read(register))

    @answers
    async def List(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        models = await self._registry.read(self._registry.db.models)
        return pb.ListModelsResponse(models=[convert.model_to_message(model) for model in models])

    @answers
    async def Get(self, request: pb.GetModelRequest) -> pb.GetModelResponse:
        model = await self._registry.read(lambda: self._registry.db.model(request.digest))
        return pb.GetModelResponse(data=model.to_bytes())


class Points(rpc.PointsServicer):  # type: ignore[misc]
    def __init__(self, registry: CollectionRegistry, limits: Limits, coalesce: bool) -> None:
        self._registry = registry
        self._limits = limits
        self._coalesce = coalesce

    @answers
    async def Upsert(self, request: pb.UpsertRequest) -> pb.UpsertResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)

        def check() -> tuple[Ids, Floats, list[str]]:
            ids = convert.ids_from_bytes(request.ids, "ids")
            vectors = convert.vectors_from_message(request.vectors, "vectors")
            texts = _payload_texts(request.payloads, len(ids))
            return *check_rows(ids, vectors, None, served.collection.binarizer.input_dim)[:2], texts

        checked = await self._registry.read(check)
        rows = await served.write(lambda: served.collection.begin_upsert(*checked).result())
        return pb.UpsertResponse(rows=rows, elapsed_us=elapsed_us(start))

    @answers
    async def Delete(self, request: pb.DeleteRequest) -> pb.DeleteResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)
        ids = check_ids(convert.ids_from_bytes(request.ids, "ids"))
        rows = await served.write(lambda: served.collection.delete(ids))
        return pb.DeleteResponse(rows=rows, elapsed_us=elapsed_us(start))

    @answers
    async def Search(self, request: pb.SearchRequest) -> pb.SearchResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)
        model = await self._registry.query_model(served, request.model) if request.HasField("model") else None
        self._limits.check_search(request.queries.count, request.k)
        vectors = convert.vectors_from_message(request.queries, "queries")
        key = Key(
            request.k,
            convert.query_mode(request.query),
            convert.oversampling_from_message(request),
            request.exact,
            model,
        )
        dim = (model or served.collection.binarizer).query_dim

        def check() -> Floats:
            return check_query(vectors, key.k, key.query, key.oversampling, key.exact, dim)

        # A hop to a thread costs more than looking over a few vectors.
        vectors = check() if len(vectors) <= MAX_BATCH else await self._registry.read(check)
        answer = await self._search(served, request, vectors, key)
        payloads = None
        if request.with_payloads:
            snapshot = served.collection.snapshot
            payloads = await self._registry.read(lambda: snapshot.payload_texts(answer.hits.ids.ravel()))
        reply = convert.hits_to_message(answer.hits, payloads)
        self._limits.check_reply(reply.ByteSize())
        reply.elapsed_us = elapsed_us(start)
        reply.batch_queries = answer.batch
        return reply

    async def _search(self, served: ServedCollection, request: pb.SearchRequest, vectors: Floats, key: Key) -> Answer:
        if request.HasField("allow"):
            allow = check_ids(convert.ids_from_bytes(request.allow, "allow"), "allow")
            search = functools.partial(served.search, vectors, key, allow)
            return Answer(await self._registry.read(search), len(vectors))
        if not self._coalesce:
            return Answer(await self._registry.read(lambda: served.search(vectors, key)), len(vectors))
        return await served.batcher.search(vectors, key)

    @answers
    async def GetPayloads(self, request: pb.GetPayloadsRequest) -> pb.GetPayloadsResponse:
        served = await self._registry.served(request.collection)
        ids = check_ids(convert.ids_from_bytes(request.ids, "ids"))
        texts = await self._registry.read(lambda: served.collection.payload_texts(ids))
        reply = pb.GetPayloadsResponse(payloads=texts)
        self._limits.check_reply(reply.ByteSize())
        return reply


class Admin(rpc.AdminServicer):  # type: ignore[misc]
    def __init__(self, registry: CollectionRegistry, limits: Limits, coalesce: bool) -> None:
        self._registry = registry
        self._limits = limits
        self._coalesce = coalesce
        self._start = time.perf_counter_ns()

    @answers
    async def Info(self, request: pb.InfoRequest) -> pb.InfoResponse:
        info, limits = bebr.info(), self._limits
        return pb.InfoResponse(
            version=info["version"],
            isa=info["isa"],
            threads=info["threads"],
            uptime_us=elapsed_us(self._start),
            limits=pb.Limits(
                message_bytes=limits.message_bytes,
                queries=limits.queries,
                k=limits.k,
                answers=limits.answers,
                calls=limits.calls,
            ),
            coalesce=self._coalesce,
        )

    @answers
    async def Stats(self, request: pb.StatsRequest) -> pb.StatsResponse:
        served = await self._registry.served(request.collection)
        stats, batching = await self._registry.read(served.collection.stats), served.batcher.stats
        return pb.StatsResponse(
            model=convert.model_to_message(stats.model),
            rows=stats.rows,
            segments=stats.segments,
            tail_rows=stats.tail_rows,
            dead_rows=stats.dead_rows,
            bytes_on_disk=stats.bytes_on_disk,
            batching=pb.Batching(
                requests=batching.requests,
                queries=batching.queries,
                batches=batching.batches,
                largest=batching.largest,
            ),
        )

    @answers
    async def Flush(self, request: pb.FlushRequest) -> pb.FlushResponse:
        served = await self._registry.served(request.collection)
        await served.write(served.collection.flush)
        return pb.FlushResponse()


def _payload_texts(texts: Sequence[str], rows: int) -> list[str]:
    """Payloads of an upsert; ``ValueError`` unless none at all, or one JSON object or "" per row."""
    if texts and len(texts) != rows:
        raise ValueError(f"payloads has {len(texts)} entries: want none, or one per row ({rows})")
    for row, text in enumerate(texts):
        try:
            load_payload(text)
        except ValueError as error:
            raise ValueError(f"payloads[{row}]: {error}") from error
    return list(texts)
