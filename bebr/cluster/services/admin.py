"""What a root is, and how a collection fares: the sum of its shards."""

from __future__ import annotations

import time
from collections import Counter

from bebr.about import info
from bebr.cluster.known import Cluster
from bebr.serve.calls import elapsed_us
from bebr.serve.limits import Limits
from bebr.v1 import bebr_pb2 as pb

# Limits of a call that a leaf may have set lower than the root.
_OF_CALLS = ("message_bytes", "queries", "k", "answers", "ids", "reply_bytes")


class Admin:
    def __init__(self, cluster: Cluster, limits: Limits) -> None:
        self._cluster, self._limits = cluster, limits
        self._start = time.perf_counter_ns()

    async def Info(self, request: pb.InfoRequest) -> pb.InfoResponse:
        """Its limits are those that its leaves have, too."""
        about, limits = info(), pb.Limits(calls=self._limits.calls, memory_bytes=self._limits.memory_bytes)
        said = [leaf.limits for leaf in self._cluster.leaves.all if leaf.limits.message_bytes]
        for name in _OF_CALLS:
            setattr(limits, name, min([getattr(self._limits, name), *(getattr(one, name) for one in said)]))
        uptime = elapsed_us(self._start)
        return pb.InfoResponse(
            version=about["version"], isa=about["isa"], threads=about["threads"], uptime_us=uptime, limits=limits
        )

    async def Stats(self, request: pb.StatsRequest) -> pb.StatsResponse:
        shards = await self._cluster.shards(request.collection)
        replies = await self._cluster.read_first(shards, "Admin/Stats", request)  # who writes it merges its files, too
        if len(replies) == 1:
            reply: pb.StatsResponse = replies[0]
            return reply
        first, kinds, places = replies[0], Counter[str](), Counter[str]()
        for one in replies:
            kinds.update(one.rows_by_kind)
            places.update(one.rows_by_device)
        summed = ("rows", "segments", "tail_rows", "dead_rows", "bytes_on_disk", "rows_behind")
        return pb.StatsResponse(
            model=first.model,
            **{name: sum(getattr(one, name) for one in replies) for name in summed},
            batching=pb.Batching(
                requests=sum(one.batching.requests for one in replies),
                queries=sum(one.batching.queries for one in replies),
                batches=sum(one.batching.batches for one in replies),
                largest=max(one.batching.largest for one in replies),
            ),
            kept_bytes=first.kept_bytes,
            target=next((one.target for one in replies if one.target), ""),
            former=next((one.former for one in replies if one.former), ""),
            rows_by_kind=kinds,
            rows_by_device=places,
            merging=any(one.merging for one in replies),
        )

    async def Flush(self, request: pb.FlushRequest) -> pb.FlushResponse:
        shards = await self._cluster.shards(request.collection)
        await self._cluster.write_all(shards, "Admin/Flush", [request] * len(shards))
        return pb.FlushResponse()

    async def MeasureRecall(self, request: pb.MeasureRecallRequest) -> pb.MeasureRecallResponse:
        shard = (await self._cluster.known(request.collection)).whole("measurement of recall").shards[0]
        reply: pb.MeasureRecallResponse = await self._cluster.read(shard, "Admin/MeasureRecall", request)
        return reply
