"""A search of all shards: each is asked for its best, and the best of these are the answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np

from bebr.cluster.dividing import shard_numbers
from bebr.cluster.known import Cluster, Known
from bebr.cluster.leaf import ELSEWHERE
from bebr.cluster.merging import merged_groups, merged_hits
from bebr.cluster.racing import together
from bebr.collection.checks import check_groups, check_window
from bebr.serve import convert
from bebr.serve.admission import ANSWER_BYTES, Budget
from bebr.serve.calls import elapsed_us
from bebr.serve.limits import Limits
from bebr.v1 import bebr_pb2 as pb

# Answers of shards beyond which they are merged in a thread: it would hold up the event loop.
_MANY = 4096


class Searching:
    def __init__(self, cluster: Cluster, limits: Limits, budget: Budget) -> None:
        self._cluster, self._limits, self._budget = cluster, limits, budget

    async def Search(self, request: pb.SearchRequest) -> pb.SearchResponse:
        start = time.perf_counter_ns()
        known = await self._cluster.known(request.collection)
        partial = request.allow_partial
        request.ClearField("allow_partial")
        if not known.split:
            reply: pb.SearchResponse = await self._cluster.read(known.shards[0], "Points/Search", request)
            reply.shards, reply.answered[:] = 1, [0]
            return reply
        _check_divisible(request, known)
        depth = check_window(request.k, request.radius if request.HasField("radius") else None, request.offset)
        groups = check_groups(request.group_by if request.HasField("group_by") else None, request.group_size or 1)
        queries = request.queries.count
        self._limits.check_search(queries, depth)
        self._limits.check_ids(request.allow, "allow")
        with self._budget.hold(ANSWER_BYTES * queries * depth * len(known.shards), "the replies of shards"):
            replies = await self._replies(known, _parts(known, request, depth), partial)
            self._limits.check_reply(sum(one.ByteSize() for one in replies.values()))
            ascending = known.model.metric == pb.METRIC_L2
            merge = merged_hits if groups is None else merged_groups
            about = list(replies.values()), request.k, request.offset, ascending
            many = queries * depth * len(known.shards) > _MANY
            reply = await asyncio.to_thread(merge, *about) if many else merge(*about)
        reply.elapsed_us, reply.batch_queries = elapsed_us(start), max(one.batch_queries for one in replies.values())
        reply.shards, reply.answered[:] = len(known.shards), sorted(replies)
        return reply

    async def _replies(
        self, known: Known, parts: list[pb.SearchRequest], partial: bool
    ) -> dict[int, pb.SearchResponse]:
        """By the number of the shard; with `partial`, of those that have a leaf that answers, one at least."""
        pairs = zip(known.shards, parts, strict=True)
        works = [self._cluster.read(shard, "Points/Search", part) for shard, part in pairs]
        if not partial:
            return dict(enumerate(await together(works)))
        results = await asyncio.gather(*works, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        there = {i: result for i, result in enumerate(results) if not isinstance(result, BaseException)}
        fatal = [error for error in errors if not isinstance(error, ELSEWHERE)]
        if fatal or not there:
            raise (fatal or errors)[0]
        return there


def _check_divisible(request: pb.SearchRequest, known: Known) -> None:
    """``ValueError`` for what takes more than the best of each shard."""
    if request.text:
        known.whole("search by words, whose weights are of all rows,")
    if request.HasField("by_ids"):
        known.whole("search by rows (get their vectors, and search with these)")
    if request.HasField("group_by") and request.group_size > 1:
        known.whole("search in groups of more than one row")


def _parts(known: Known, request: pb.SearchRequest, depth: int) -> list[pb.SearchRequest]:
    """What each shard is asked for."""
    common = pb.SearchRequest()
    common.CopyFrom(request)
    common.k, common.offset = depth, 0
    if request.model in known.digests:  # each shard may have a model of its own, of the same vectors
        common.ClearField("model")
    allow = None
    if request.HasField("allow"):
        allow = convert.named_from_message(request.allow, request.allow_keys, "allow")
        common.ClearField("allow_keys")
        numbers = shard_numbers(allow, len(known.shards))
    parts: list[Any] = []
    for shard in known.shards:
        part = pb.SearchRequest()
        part.CopyFrom(common)
        if allow is not None:
            own = allow[np.flatnonzero(numbers == shard.number)]
            part.allow = convert.ids_to_bytes(own.numbers)
            part.allow_keys.extend(own.keys or [])
        parts.append(part)
    return parts
