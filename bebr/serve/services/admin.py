"""What the server is and how a collection fares."""

from __future__ import annotations

import time

from bebr.about import info
from bebr.collection.protocol import RecallEstimate
from bebr.serve import convert
from bebr.serve.admission import ANSWER_BYTES, Budget
from bebr.serve.batching import MAX_BATCH
from bebr.serve.calls import elapsed_us
from bebr.serve.limits import Limits
from bebr.serve.registry import CollectionRegistry
from bebr.store.search.measuring import MEASURING_BYTES
from bebr.v1 import bebr_pb2 as pb


class Admin:
    def __init__(self, registry: CollectionRegistry, limits: Limits, budget: Budget, coalesce: bool) -> None:
        self._registry = registry
        self._limits = limits
        self._budget = budget
        self._coalesce = coalesce
        self._start = time.perf_counter_ns()

    async def Info(self, request: pb.InfoRequest) -> pb.InfoResponse:
        about, limits, most = info(), self._limits, self._registry.budgets.most
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
                reply_bytes=limits.reply_bytes,
                rows=most.rows,
                collections=most.collections,
                disk_bytes=most.disk_bytes,
                process_bytes=most.process_bytes,
            ),
            coalesce=self._coalesce,
            taken=self._registry.taken.texts,
            database=self._registry.db.shared,
        )

    async def Stats(self, request: pb.StatsRequest) -> pb.StatsResponse:
        served = await self._registry.served(request.collection)
        stats, batching = await served.read(served.collection.stats), served.batching
        return pb.StatsResponse(
            model=convert.model_to_message(stats.model),
            rows=stats.rows,
            segments=stats.segments,
            tail_rows=stats.tail_rows,
            dead_rows=stats.dead_rows,
            bytes_on_disk=stats.bytes_on_disk,
            kept_bytes=stats.kept_bytes,
            target=stats.target,
            former=stats.former,
            merging=stats.merging,
            rows_behind=stats.rows_behind,
            rows_by_kind=stats.rows_by_kind,
            rows_by_device=stats.rows_by_device,
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

    async def MeasureRecall(self, request: pb.MeasureRecallRequest) -> pb.MeasureRecallResponse:
        served = await self._registry.served(request.collection)
        rescore = request.rescore if request.HasField("rescore") else None
        nprobe = request.nprobe if request.HasField("nprobe") else None
        ef_search = request.ef_search if request.HasField("ef_search") else None
        queries = request.queries.count or request.rows
        self._limits.check_search(queries, max(request.k, rescore or 0))
        answers = queries * request.k + min(queries, MAX_BATCH) * served.collection.candidates(request.k)

        def measure() -> RecallEstimate:
            sample = convert.vectors_from_message(request.queries, "queries") if request.queries.count else request.rows
            how = {"rescore": rescore, "nprobe": nprobe, "ef_search": ef_search}
            return served.collection.measure_recall(sample, request.k, **how)

        with self._budget.hold(ANSWER_BYTES * answers + MEASURING_BYTES, "the measurement"):
            found = await served.read(measure)
        return pb.MeasureRecallResponse(recall=found.recall, low=found.low, high=found.high, queries=found.queries)
