"""A search of all shards: each is asked for its best, and the best of these are the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from bebr.cluster.dividing import shard_numbers
from bebr.cluster.grouping import Groups
from bebr.cluster.known import Cluster, Known
from bebr.cluster.leaf import ELSEWHERE
from bebr.cluster.merging import merged_hits
from bebr.cluster.names import Shard
from bebr.cluster.racing import together
from bebr.collection.checks import check_groups, check_window
from bebr.collection.filter_tree import Condition
from bebr.collection.options import Groups as GroupOptions
from bebr.collection.protocol import GroupValue
from bebr.errors import IncompatibleModel, LimitExceeded
from bebr.serve import convert
from bebr.serve.admission import ANSWER_BYTES, Budget
from bebr.serve.calls import elapsed_us
from bebr.serve.limits import Limits
from bebr.v1 import bebr_pb2 as pb

R = TypeVar("R")

# Answers of shards beyond which they are merged in a thread: it would hold up the event loop.
_MANY = 4096
# Searches of shards for rows of groups, of one call.
_MOST_LACKING = 1000
# Seconds for which a search that a shard refuses for its model is tried again, and before the first of these tries,
# each of which waits for twice as long: leaves follow each other within a quarter of a second.
_FOLLOWED, _AGAIN = 1.0, 0.05


class Searching:
    def __init__(self, cluster: Cluster, limits: Limits, budget: Budget) -> None:
        self._cluster, self._limits, self._budget = cluster, limits, budget

    async def Search(self, request: pb.SearchRequest) -> pb.SearchResponse:
        start = time.perf_counter_ns()
        partial, wait, end = request.allow_partial, _AGAIN, time.monotonic() + _FOLLOWED
        request.ClearField("allow_partial")
        while True:
            known = await self._cluster.known(request.collection)
            try:
                reply = await self._answered(request, known, partial)
            except (
                IncompatibleModel
            ):  # a shard was changed a moment ago, and some leaf or this root has not heard of it
                if not known.serves(request.model) or time.monotonic() + wait > end:
                    raise
            else:
                reply.elapsed_us = elapsed_us(start) if known.split else reply.elapsed_us
                return reply
            await asyncio.sleep(wait)
            wait *= 2
            self._cluster.forget(request.collection)

    async def _answered(self, request: pb.SearchRequest, known: Known, partial: bool) -> pb.SearchResponse:
        if not known.split:
            reply: pb.SearchResponse = await self._cluster.read(known.shards[0], "Points/Search", request)
            reply.shards, reply.answered[:] = 1, [0]
            return reply
        _check_divisible(request, known)
        depth = check_window(request.k, request.radius if request.HasField("radius") else None, request.offset)
        groups = check_groups(request.group_by if request.HasField("group_by") else None, request.group_size or 1)
        queries = request.queries.count
        size = groups.size if groups else 1
        self._limits.check_search(queries, depth * size)
        self._limits.check_ids(request.allow, "allow")
        parts = _parts(known, request, depth)
        with self._budget.hold(ANSWER_BYTES * queries * depth * size * len(known.shards), "the replies of shards"):
            there = await self._replies(known, parts, partial)
            numbers, replies = list(there), list(there.values())
            self._limits.check_reply(sum(one.ByteSize() for one in replies))
            ascending = known.model.metric == pb.METRIC_L2
            many = queries * depth * size * len(replies) > _MANY
            if groups is not None:
                found = await _run(many, Groups, replies, depth, size, ascending)
                asked = [(known.shards[number], parts[number]) for number in numbers]
                await self._complete(found, asked, request.offset, groups)
                reply = await _run(many, found.reply, request.offset)
                self._limits.check_reply(reply.ByteSize())
            else:
                reply = await _run(many, merged_hits, replies, request.k, request.offset, ascending)
        reply.batch_queries = max(one.batch_queries for one in replies)
        reply.shards, reply.answered[:] = len(known.shards), numbers
        self._cluster.leaves.partial += len(numbers) < len(known.shards)
        return reply

    async def _complete(
        self, found: Groups, asked: list[tuple[Shard, pb.SearchRequest]], offset: int, by: GroupOptions
    ) -> None:
        """Asks shards for rows of the groups after the first `offset` that other groups had left no room for.
        `asked`: the shards that answered, and what they were asked for."""
        lacking = list(found.lacking(offset))
        if len(lacking) > _MOST_LACKING:
            raise LimitExceeded(
                f"rows of {len(lacking)} groups are to be looked up in shards, and a root looks up {_MOST_LACKING} a "
                "call: send fewer queries, or a smaller k"
            )
        parts = [_of_group(asked[at][1], query, group.value, by) for at, query, group in lacking]
        replies = await self._cluster.read_each([asked[at][0] for at, _, _ in lacking], "Points/Search", parts)
        for (_, _, group), reply in zip(lacking, replies, strict=True):
            found.add(group, reply)

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


def _parts(known: Known, request: pb.SearchRequest, depth: int) -> list[pb.SearchRequest]:
    """What each shard is asked for."""
    common = pb.SearchRequest()
    common.CopyFrom(request)
    common.k, common.offset = depth, 0
    allow = None
    if request.HasField("allow"):
        allow = convert.named_from_message(request.allow, request.allow_keys, "allow")
        common.ClearField("allow_keys")
        numbers = shard_numbers(allow, len(known.shards))
    parts: list[Any] = []
    for shard in known.shards:
        part = pb.SearchRequest()
        part.CopyFrom(common)
        part.model = known.model_at(shard.number, request.model or known.model.digest)
        if allow is not None:
            own = allow[np.flatnonzero(numbers == shard.number)]
            part.allow = convert.ids_to_bytes(own.numbers)
            part.allow_keys.extend(own.keys or [])
        parts.append(part)
    return parts


async def _run(many: bool, work: Callable[..., R], *arguments: object) -> R:
    """What `work` returns; in a thread where it is about `many` answers."""
    return await asyncio.to_thread(work, *arguments) if many else work(*arguments)


def _of_group(request: pb.SearchRequest, query: int, value: GroupValue, by: GroupOptions) -> pb.SearchRequest:
    """A search of a shard for the rows of one group, for one of the queries of its search for groups."""
    part = pb.SearchRequest()
    part.CopyFrom(request)
    part.ClearField("group_by")
    part.ClearField("group_size")
    if request.rescore:
        part.rescore = max(request.rescore, by.size)
    part.k, wanted = by.size, Condition(tuple(by.by.split(".")), "eq", value)
    given = convert.filter_from_message(request)
    part.filter = (wanted if given is None else given & wanted).text
    kind = part.queries.WhichOneof("data") or "f32"
    row = part.queries.dimension * (4 if kind == "f32" else 2)
    setattr(part.queries, kind, getattr(request.queries, kind)[query * row : (query + 1) * row])
    part.queries.count = 1
    return part
