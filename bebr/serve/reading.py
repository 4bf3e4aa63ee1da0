"""The RPCs of Points that read rows. A reply is summed up before it is built, so that none outgrows its limit."""

from __future__ import annotations

import numpy as np

from bebr.arrays import Ids
from bebr.collection.checks import check_page
from bebr.serve import convert
from bebr.serve.admission import Budget
from bebr.serve.limits import Limits
from bebr.serve.registry import CollectionRegistry, ServedCollection
from bebr.store.snapshots.keys import keys_of, resolve
from bebr.store.snapshots.reads import ids_after, read_vectors, vector_dim
from bebr.store.snapshots.snapshot import Snapshot
from bebr.v1 import bebr_pb2 as pb

# Bytes that a payload takes in a reply beside its text.
TEXT_BYTES = 6
# Of a reply beside its columns.
_OVERHEAD = 1024


class Reading:
    """Get, GetPayloads and Scroll."""

    def __init__(self, registry: CollectionRegistry, limits: Limits, budget: Budget) -> None:
        self._registry = registry
        self._limits = limits
        self._budget = budget

    async def Get(self, request: pb.GetRequest) -> pb.GetResponse:
        served = await self._registry.served(request.collection)
        self._limits.check_ids(request.ids, "ids")
        snapshot = served.collection.snapshot

        def sized() -> tuple[Ids, int]:
            ids = snapshot.present(resolve(snapshot, convert.named_from_message(request.ids, request.keys, "ids")))
            return ids, int(_sizes(served, snapshot, ids, request).sum())

        ids, size = await served.read(sized)
        self._limits.check_reply(size)
        with self._budget.hold(2 * size, "the reply"):
            return await served.read(lambda: pb.GetResponse(rows=_rows(served, snapshot, ids, request)))

    async def Scroll(self, request: pb.ScrollRequest) -> pb.ScrollResponse:
        served = await self._registry.served(request.collection)
        after = check_page(request.limit, request.after if request.HasField("after") else None)
        if request.HasField("after_key"):
            after = convert.named_from_message(bytes(8), [request.after_key], "after_key")
        self._limits.check_rows(request.limit)
        snapshot = served.collection.snapshot

        def sized() -> tuple[Ids, int, bool]:
            shown = snapshot.behind if request.behind else snapshot
            ids = ids_after(shown, after, request.limit, convert.filter_from_message(request))
            ends = np.cumsum(_sizes(served, snapshot, ids, request))
            fit = int(np.searchsorted(ends, self._limits.reply_bytes - _OVERHEAD, side="right"))
            fit = max(fit, min(1, len(ids)))  # one row that does not fit is an error, not the end
            return ids[:fit], int(ends[fit - 1]) if fit else 0, fit < len(ids)

        ids, size, full = await served.read(sized)
        self._limits.check_reply(size)
        with self._budget.hold(2 * size, "the reply"):
            return await served.read(lambda: pb.ScrollResponse(rows=_rows(served, snapshot, ids, request), full=full))

    async def GetPayloads(self, request: pb.GetPayloadsRequest) -> pb.GetPayloadsResponse:
        served = await self._registry.served(request.collection)
        self._limits.check_ids(request.ids, "ids")
        snapshot = served.collection.snapshot

        def total() -> tuple[Ids, int]:
            ids = convert.named_from_message(request.ids, [], "ids").numbers
            missing = snapshot.missing(ids)
            if len(missing):
                first = ids[np.isin(ids, missing)][0]
                raise KeyError(f"no row with id {first} in collection {request.collection!r}")
            return ids, int(snapshot.payload_bytes(ids).sum()) + TEXT_BYTES * len(ids)

        ids, size = await served.read(total)
        self._limits.check_reply(size)
        with self._budget.hold(2 * size, "the reply"):
            return await served.read(lambda: pb.GetPayloadsResponse(payloads=snapshot.payload_texts(ids)))


def _sizes(served: ServedCollection, snapshot: Snapshot, ids: Ids, request: pb.GetRequest | pb.ScrollRequest) -> Ids:
    """Bytes that each of these rows takes in the reply, int64[n]."""
    sizes = np.full(len(ids), 8, np.int64)
    keys = keys_of(snapshot, ids)
    if keys is not None:
        sizes += np.fromiter(map(len, keys), np.int64, len(keys)) + TEXT_BYTES
    if request.with_payloads:
        sizes += snapshot.payload_bytes(ids) + TEXT_BYTES
    if request.with_vectors:
        sizes += 4 * vector_dim(snapshot, served.collection.binarizer)
    return sizes


def _rows(served: ServedCollection, snapshot: Snapshot, ids: Ids, request: pb.GetRequest | pb.ScrollRequest) -> pb.Rows:
    rows = pb.Rows(ids=convert.ids_to_bytes(ids), keys=keys_of(snapshot, ids))
    if request.with_payloads:
        rows.payloads.extend(snapshot.payload_texts(ids))
    if request.with_vectors:
        bare = snapshot.bare(ids)
        rows.without_vector.extend(np.flatnonzero(bare).tolist())
        vectors = read_vectors(snapshot, served.collection.binarizer, ids[~bare])
        rows.vectors.CopyFrom(convert.vectors_to_message(vectors))
    return rows
