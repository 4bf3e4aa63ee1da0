"""Rows are written by the owners of their shards, and read from all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

from bebr.cluster.dividing import divided
from bebr.cluster.known import Known
from bebr.cluster.merging import merged_rows
from bebr.cluster.services.searching import Searching
from bebr.collection.checks import check_delete, check_distinct, check_page, check_payload_texts, check_text_rows
from bebr.collection.keys import Named
from bebr.collection.protocol import AlreadyExists, OnDuplicate
from bebr.errors import Error
from bebr.serve import convert
from bebr.serve.admission import COPIES
from bebr.serve.calls import elapsed_us
from bebr.serve.messages import put_rows
from bebr.v1 import bebr_pb2 as pb


class Points(Searching):
    async def Upsert(self, request: pb.UpsertRequest) -> pb.UpsertResponse:
        start = time.perf_counter_ns()
        known = await self._cluster.known(request.collection)
        if not known.split:
            reply: pb.UpsertResponse = await self._cluster.write(known.shards[0], "Points/Upsert", request)
            return reply
        async with self._cluster.gate(known).passed():
            known = await self._cluster.known(request.collection)  # it may have been cut over while this call waited
            shards, parts = await asyncio.to_thread(_parts_of_upsert, known, request)
            if request.conflict == pb.CONFLICT_ERROR:
                await self._check_absent(request, known)
            replies = await self._cluster.write_all(shards, "Points/Upsert", parts)
        rows, received = sum(reply.rows for reply in replies), len(request.ids) // 8
        return pb.UpsertResponse(rows=rows, elapsed_us=elapsed_us(start), received=received)

    async def _check_absent(self, request: pb.UpsertRequest, known: Known) -> None:
        """Before any shard writes: what comes between is refused by its shard alone."""
        wanted = pb.GetRequest(collection=request.collection, ids=request.ids, keys=request.keys)
        rows = (await self.Get(wanted)).rows
        if rows.ids:
            first = Named(convert.ids_from_bytes(rows.ids, "ids"), list(rows.keys) or None).ids()[0]
            raise AlreadyExists(f"ids holds {first!r}, which is there already: nothing was written")

    async def UpsertStream(
        self, messages: AsyncIterator[bytes], parsed: Callable[[bytes], pb.UpsertRequest]
    ) -> pb.UpsertResponse:
        """One message after the other: each is divided among the shards, which write their parts at once."""
        start = time.perf_counter_ns()
        name, rows, received = "", 0, 0
        try:
            async for data in messages:
                with self._budget.hold(COPIES * len(data), "a message of the stream"):
                    request = parsed(data)
                    if name and request.collection not in ("", name):
                        raise ValueError(
                            f"collection is {request.collection!r}: want {name!r}, as in the first message"
                        )
                    name = request.collection = name or request.collection
                    received += len(request.ids) // 8
                    rows += (await self.Upsert(request)).rows
        except (ValueError, KeyError, Error) as error:
            if not rows:
                raise
            kind = type(error) if isinstance(error, Error | KeyError) else ValueError
            raise kind(f"{error.args[0]} (of this stream, the first {rows} rows are written)") from error
        return pb.UpsertResponse(rows=rows, elapsed_us=elapsed_us(start), received=received)

    async def SetPayloads(self, request: pb.SetPayloadsRequest) -> pb.SetPayloadsResponse:
        start = time.perf_counter_ns()
        shards, parts = await self._cluster.shards(request.collection), [request]
        if len(shards) > 1:
            ids = check_distinct(convert.named_from_message(request.ids, request.keys, "ids"), "ids")
            if len(request.payloads) != len(ids):
                raise ValueError(f"payloads has {len(request.payloads)} entries: want one per id ({len(ids)})")
            texts = check_payload_texts(request.payloads, len(ids))
            split, parts = [], []
            for number, rows in divided(ids, len(shards)):
                part = pb.SetPayloadsRequest(collection=request.collection, merge=request.merge)
                part.payloads.extend([texts[i] for i in rows.tolist()])
                split.append(shards[number])
                parts.append(_with_ids(part, ids[rows]))
            shards = tuple(split)
        replies = await self._cluster.write_all(shards, "Points/SetPayloads", parts)
        return pb.SetPayloadsResponse(rows=sum(reply.rows for reply in replies), elapsed_us=elapsed_us(start))

    async def Delete(self, request: pb.DeleteRequest) -> pb.DeleteResponse:
        start = time.perf_counter_ns()
        shards = await self._cluster.shards(request.collection)
        filter = convert.filter_from_message(request)
        parts = [request] * len(shards)
        if filter is not None:
            check_delete([0] if request.ids or request.keys else None, filter)
        elif len(shards) > 1:
            ids = convert.named_from_message(request.ids, request.keys, "ids")
            pairs = list(divided(ids, len(shards)))
            shards = tuple(shards[number] for number, _ in pairs)
            parts = [_with_ids(pb.DeleteRequest(collection=request.collection), ids[rows]) for _, rows in pairs]
        replies = await self._cluster.write_all(shards, "Points/Delete", parts)
        return pb.DeleteResponse(rows=sum(reply.rows for reply in replies), elapsed_us=elapsed_us(start))

    async def Count(self, request: pb.CountRequest) -> pb.CountResponse:
        start = time.perf_counter_ns()
        shards = await self._cluster.shards(request.collection)
        replies = await self._cluster.read_all(shards, "Points/Count", request)
        return pb.CountResponse(rows=sum(reply.rows for reply in replies), elapsed_us=elapsed_us(start))

    async def Get(self, request: pb.GetRequest) -> pb.GetResponse:
        shards = await self._cluster.shards(request.collection)
        self._limits.check_ids(request.ids, "ids")
        if len(shards) == 1:
            reply: pb.GetResponse = await self._cluster.read(shards[0], "Points/Get", request)
            return reply
        ids = convert.named_from_message(request.ids, request.keys, "ids")
        pairs = list(divided(ids, len(shards))) or [(0, np.empty(0, np.int64))]
        about = {"with_payloads": request.with_payloads, "with_vectors": request.with_vectors}
        parts = [_with_ids(pb.GetRequest(collection=request.collection, **about), ids[rows]) for _, rows in pairs]
        asked = [shards[number] for number, _ in pairs]
        replies = await self._cluster.read_each(asked, "Points/Get", parts)
        self._limits.check_reply(sum(reply.ByteSize() for reply in replies))
        return pb.GetResponse(rows=merged_rows([reply.rows for reply in replies]))

    async def GetPayloads(self, request: pb.GetPayloadsRequest) -> pb.GetPayloadsResponse:
        shards = await self._cluster.shards(request.collection)
        self._limits.check_ids(request.ids, "ids")
        ids = convert.named_from_message(request.ids, [], "ids")
        pairs = list(divided(ids, len(shards)))
        parts = [_with_ids(pb.GetPayloadsRequest(collection=request.collection), ids[rows]) for _, rows in pairs]
        asked = [shards[number] for number, _ in pairs]
        replies = await self._cluster.read_each(asked, "Points/GetPayloads", parts)
        self._limits.check_reply(sum(reply.ByteSize() for reply in replies))
        texts = [""] * len(ids)
        for (_, rows), reply in zip(pairs, replies, strict=True):
            for row, text in zip(rows.tolist(), reply.payloads, strict=True):
                texts[row] = text
        return pb.GetPayloadsResponse(payloads=texts)

    async def Scroll(self, request: pb.ScrollRequest) -> pb.ScrollResponse:
        """The next rows of each shard; of these, those up to where the first reply that had no room for more ends."""
        shards = await self._cluster.shards(request.collection)
        check_page(request.limit, request.after if request.HasField("after") else None)
        self._limits.check_rows(request.limit)
        if request.behind:  # what has come since then, leaves that follow may not have yet
            replies = await self._cluster.read_first(shards, "Points/Scroll", request)
        else:
            replies = await self._cluster.read_all(shards, "Points/Scroll", request)
        if len(replies) == 1:
            reply: pb.ScrollResponse = replies[0]
            return reply
        ends = [int(np.frombuffer(reply.rows.ids[-8:], "<i8")[0]) for reply in replies if reply.full]
        rows = merged_rows([reply.rows for reply in replies], request.limit, min(ends, default=None))
        self._limits.check_reply(rows.ByteSize())
        return pb.ScrollResponse(rows=rows, full=bool(ends) and len(rows.ids) // 8 < request.limit)


def _with_ids(request: Any, ids: Named) -> Any:
    """The request, of these ids."""
    request.ids = convert.ids_to_bytes(ids.numbers)
    if ids.keys is not None and any(ids.keys):
        request.keys.extend(ids.keys)
    return request


def _parts_of_upsert(known: Known, request: pb.UpsertRequest) -> tuple[list[Any], list[pb.UpsertRequest]]:
    """The shards that some rows go to, and what each is to write. All of it is checked before: what is refused is
    written by none."""
    ids = convert.named_from_message(request.ids, request.keys, "ids")
    if request.stream_model:
        return _parts_of_stream(known, request, ids)
    dim, none = known.model.input_dim, request.without_vector
    vectors, half = np.empty((0, dim), np.float32), request.vectors.WhichOneof("data") == "f16"
    if request.HasField("vectors") or not none:
        vectors = convert.vectors_from_message(request.vectors, "vectors")
    texts = check_payload_texts(request.payloads, len(ids))
    duplicate: OnDuplicate = "error" if request.refuse_duplicates else "last"
    convert.conflict_from_message(request)
    ids, vectors, texts = check_text_rows(ids, vectors, texts, dim, duplicate, none)
    sent = vectors.astype(np.float16) if half else vectors
    shards, parts = [], []
    for number, rows in divided(ids, len(known.shards)):
        part = pb.UpsertRequest(collection=request.collection, conflict=request.conflict)
        # Each shard has a number of its own, and where it trains, a model of its own of the same vectors.
        part.model = known.model_at(number, request.model)
        part.collection_id = known.id_at(number, request.collection_id)
        shards.append(known.shards[number])
        parts.append(put_rows(part, ids[rows], sent[rows], [texts[i] for i in rows.tolist()] if texts else []))
    return shards, parts


def _parts_of_stream(known: Known, request: pb.UpsertRequest, ids: Named) -> tuple[list[Any], list[pb.UpsertRequest]]:
    """The same of vectors of another producer."""
    if request.payloads or request.without_vector:
        raise ValueError("stream_model beside payloads or without_vector: want vectors alone")
    vectors, half = (
        convert.vectors_from_message(request.vectors, "vectors"),
        request.vectors.WhichOneof("data") == "f16",
    )
    ids, vectors, _ = check_text_rows(ids, vectors, [], vectors.shape[1], "last")
    sent = vectors.astype(np.float16) if half else vectors
    shards, parts = [], []
    for number, rows in divided(ids, len(known.shards)):
        model = known.model_at(number, request.stream_model)
        part = pb.UpsertRequest(collection=request.collection, stream_model=model)
        shards.append(known.shards[number])
        parts.append(put_rows(part, ids[rows], sent[rows], []))
    return shards, parts
