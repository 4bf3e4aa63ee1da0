"""Rows are written and searched for."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.collection.checks import (
    check_beside_text,
    check_delete,
    check_distinct,
    check_groups,
    check_payload_texts,
    check_query,
    check_query_ids,
    check_window,
)
from bebr.collection.keys import Named
from bebr.collection.options import Groups
from bebr.index import check_oversampling
from bebr.serve import convert
from bebr.serve.admission import ANSWER_BYTES, Budget
from bebr.serve.batching import MAX_BATCH, Answer
from bebr.serve.calls import elapsed_us, note_found, note_search
from bebr.serve.limits import Limits
from bebr.serve.reading import TEXT_BYTES, Reading
from bebr.serve.registry import CollectionRegistry, ServedCollection
from bebr.serve.upserting import StreamedUpsert, begin_upsert, check_room, spread_bytes
from bebr.store.search.ranking import FUSED
from bebr.store.snapshots.keys import keys_of
from bebr.v1 import bebr_pb2 as pb

# Bytes of an answer with its payload in a reply, beside the text.
_ROW_BYTES = TEXT_BYTES + 12
# Of a row while words are searched for.
_SCORE_BYTES = 16
# A reply of more answers is made in a thread: it would hold up the event loop.
_MANY = 4096
# Queries at a time of those that share no kernel call: by groups, each may take several; words are looked up for each.
_ONE_BY_ONE = 16


class Points(Reading):
    """Writes and searches; the reads are those of `Reading`."""

    def __init__(self, registry: CollectionRegistry, limits: Limits, budget: Budget, coalesce: bool) -> None:
        super().__init__(registry, limits, budget)
        self._coalesce = coalesce

    async def Upsert(self, request: pb.UpsertRequest) -> pb.UpsertResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)
        with (
            self._budget.hold(spread_bytes(served, request), "the rows without a vector"),
            await check_room(self._registry, served, request),
        ):
            rows = await served.write(lambda: begin_upsert(served, request))
        return pb.UpsertResponse(rows=rows, elapsed_us=elapsed_us(start), received=len(request.ids) // 8)

    async def UpsertStream(
        self, messages: AsyncIterator[bytes], parsed: Callable[[bytes], pb.UpsertRequest]
    ) -> pb.UpsertResponse:
        start = time.perf_counter_ns()
        stream = StreamedUpsert(self._registry, self._budget, parsed)
        await stream.run(messages)
        return pb.UpsertResponse(rows=stream.rows, elapsed_us=elapsed_us(start), received=stream.received)

    async def SetPayloads(self, request: pb.SetPayloadsRequest) -> pb.SetPayloadsResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)
        self._limits.check_ids(request.ids, "ids")
        self._registry.budgets.check_bytes(request.ByteSize(), "the payloads")

        def begin() -> Future[int]:
            ids = check_distinct(convert.named_from_message(request.ids, request.keys, "ids"), "ids")
            if len(request.payloads) != len(ids):
                raise ValueError(f"payloads has {len(request.payloads)} entries: want one per id ({len(ids)})")
            texts = check_payload_texts(request.payloads, len(ids))
            return served.collection.begin_set_payloads(ids, texts, request.merge)

        return pb.SetPayloadsResponse(rows=await served.write(begin), elapsed_us=elapsed_us(start))

    async def Delete(self, request: pb.DeleteRequest) -> pb.DeleteResponse:
        start = time.perf_counter_ns()
        served = await self._registry.served(request.collection)
        self._limits.check_ids(request.ids, "ids")

        def begin() -> Future[int]:
            filter = convert.filter_from_message(request)
            if filter is None:
                return served.collection.begin_delete(convert.named_from_message(request.ids, request.keys, "ids"))
            check_delete([0] if request.ids or request.keys else None, filter)
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
        by_ids = request.HasField("by_ids")
        self._limits.check_ids(request.by_ids, "by_ids")
        texts = convert.texts_from_message(request)
        queries = len(request.by_ids) // 8 if by_ids else max(request.queries.count, len(request.text))
        depth = check_window(request.k, request.radius if request.HasField("radius") else None, request.offset)
        groups = check_groups(request.group_by if request.HasField("group_by") else None, request.group_size or 1)
        rows = max(depth, request.rescore) * (groups.size if groups else 1)
        self._limits.check_search(queries, rows)
        self._limits.check_ids(request.allow, "allow")
        rows = max(rows, FUSED) if texts else rows
        candidates = served.collection.candidates(rows)
        answers = queries * rows + min(queries, MAX_BATCH) * candidates
        scores = _SCORE_BYTES * len(served.collection) if texts else 0
        with self._budget.hold(ANSWER_BYTES * answers + scores, "the reply"):
            answer = await self._found(served, request, model, depth, groups, texts)
            if answer.parts:
                note_found(answer.parts[-1].snapshot, answer.batch, answer.work)
            answer = answer.after(request.offset * (groups.size if groups else 1))
            if groups is not None:
                answer = answer.rows_of(groups.size)
            many = answer.hits.ids.size > _MANY
            if request.with_payloads or any(part.snapshot.keyed for part in answer.parts):
                reply = await self._with_texts(served, answer, request.with_payloads)
            elif many:
                reply = await served.read(lambda: convert.hits_to_message(answer.hits, None))
            else:
                reply = convert.hits_to_message(answer.hits, None)
            for values in (values for part in answer.parts for values in part.groups):
                reply.groups.extend("" if value is None else json.dumps(value) for value in values[request.offset :])
            reply.elapsed_us = elapsed_us(start)
            reply.batch_queries = answer.batch
            return reply

    async def _found(
        self,
        served: ServedCollection,
        request: pb.SearchRequest,
        model: Binarizer | None,
        depth: int,
        groups: Groups | None,
        texts: list[str] | None,
    ) -> Answer:
        """The hits of a search, those before its offset included."""
        filter = None
        if request.HasField("filter"):  # looked at before its search has its turn: others need not wait for that
            filter = await served.read(lambda: served.matched(convert.filter_from_message(request)))
        options = convert.options_from_message(request, depth, model, filter)
        note_search(options, len(request.by_ids) // 8 or max(request.queries.count, len(request.text)))
        dim = (model or served.collection.binarizer).query_dim

        def check() -> Floats:
            vectors = convert.vectors_from_message(request.queries, "queries")
            return check_query(vectors, depth, options.query, options.oversampling, options.exact, dim)

        queries: Floats | Named | None
        if request.HasField("by_ids"):
            if texts is not None:
                raise ValueError("text with by_ids: want one of them")
            check_oversampling(options.oversampling, options.exact)
            queries = check_query_ids(convert.named_from_message(request.by_ids, request.by_keys, "by_ids"))
        elif texts is not None and not request.HasField("queries"):
            queries = None
            check_beside_text(texts, queries, options.radius, groups)
        else:
            # A hop to a thread costs more than looking over a few vectors.
            queries = check() if request.queries.count <= MAX_BATCH else await served.read(check)
            check_beside_text(texts, queries, options.radius, groups)
            if self._coalesce and texts is None and not request.HasField("allow") and groups is None:
                answer = await served.batcher.search(queries, options)
                if filter is not None:
                    served.show_filter(answer.parts[-1].snapshot, request.filter, filter)
                return answer
        allow: Named | None = None
        if request.HasField("allow"):
            allow = await served.read(lambda: convert.named_from_message(request.allow, request.allow_keys, "allow"))
        # In pieces, as the batcher does: others have their turn between them.
        parts, step = [], MAX_BATCH if groups is None and texts is None else _ONE_BY_ONE
        count = len(texts or ()) if queries is None else len(queries)
        for i in range(0, count, step):
            some = None if queries is None else queries[i : i + step]
            parts.append(await served.search(some, options, allow, groups, (texts or ())[i : i + step]))
        if groups is not None and parts:
            served.show_groups(parts[-1].snapshot, request.filter, filter, groups)
        return Answer(tuple(parts), min(count, MAX_BATCH))

    async def _with_texts(self, served: ServedCollection, answer: Answer, with_payloads: bool) -> pb.SearchResponse:
        """The reply with the payloads, and keys, that the search itself saw, whatever was written since."""
        parts = [(part.snapshot, part.hits.ids.ravel()) for part in answer.parts]

        def total() -> tuple[list[bytes] | None, int]:
            keyed = any(snapshot.keyed for snapshot, _ in parts)
            keys = [key for one, ids in parts for key in keys_of(one, ids) or [b""] * len(ids)] if keyed else None
            size = sum(_ROW_BYTES * len(ids) for _, ids in parts)
            if with_payloads:
                size += sum(int(snapshot.payload_bytes(ids).sum()) for snapshot, ids in parts)
            return keys, size + sum(len(key) + TEXT_BYTES for key in keys or ())

        keys, size = await served.read(total)
        self._limits.check_reply(size)
        with self._budget.hold(2 * size, "the reply"):

            def build() -> pb.SearchResponse:
                texts = None
                if with_payloads:
                    texts = [text for snapshot, ids in parts for text in snapshot.payload_texts(ids)]
                return convert.hits_to_message(answer.hits, texts, keys)

            return await served.read(build)
