"""A collection on a server, with the methods of a local one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.checks import check_delete, check_ids, check_query, check_rows, load_payload
from bebr.collection.filter_form import FilterLike, as_filter
from bebr.collection.filter_tree import Filter
from bebr.collection.handle import Handle
from bebr.collection.protocol import BatchingStats, CollectionHits, CollectionStats, ModelInfo, Payload
from bebr.errors import LimitExceeded
from bebr.index import Hits
from bebr.index.raw import check_rescore
from bebr.serve import convert
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc

# A large upsert is sent in pieces of this size: large enough that a commit per piece costs little, small enough to show
# progress and to leave the server's threads to others.
_PIECE_BYTES = 4 << 20
# Seconds between two looks at whether a migration is done.
_POLL = 0.1
# Room in a message for everything that is not a column.
_OVERHEAD = 4096


@dataclass(frozen=True)
class Wire:
    """What a collection needs of its client: how to make a call, the services, and the limits of the server."""

    call: Callable[..., Any]
    collections: rpc.CollectionsStub
    points: rpc.PointsStub
    admin: rpc.AdminStub
    limits: pb.Limits
    register: Callable[[Binarizer], str]


class RemoteCollection(Handle):
    """A collection on a server; see `bebr.store.collection.Collection`, which it matches method for method."""

    def __init__(self, wire: Wire, name: str, model: ModelInfo, fetch: Callable[[str], Binarizer]) -> None:
        self._wire = wire
        self._name = name
        self._model = model
        self._fetch = fetch

    @property
    def name(self) -> str:
        return self._name

    @property
    def binarizer(self) -> Binarizer:
        """The model that it has now, fetched from the server."""
        digest = self._get().model.digest
        return Binarizer.held(digest) or self._fetch(digest)

    def __len__(self) -> int:
        return int(self._get().rows)

    def _get(self) -> pb.GetCollectionResponse:
        found: pb.GetCollectionResponse = self._wire.call(
            self._wire.collections.Get, pb.GetCollectionRequest(name=self._name)
        )
        return found

    def __repr__(self) -> str:
        return f"RemoteCollection({self._name!r}, model={self._model.digest})"

    def upsert(self, ids: ArrayLike, x: ArrayLike, payloads: Sequence[Payload | None] | None = None) -> int:
        """Inserts rows, replacing rows of the same id as a whole; returns how many were written.

        As locally, but a large one is sent in pieces (of about 4 MB) that are each written whole or not at all. If one
        fails, the error says how many rows are on disk; repeating the whole upsert is safe. ``x`` may be float16: it
        then travels at half the size.
        """
        numbers, floats, texts = check_rows(ids, x, payloads, self._model.input_dim)
        vectors = _as_sent(floats, x)
        written = 0
        for piece in self._pieces(vectors, texts):
            request = pb.UpsertRequest(
                collection=self._name,
                ids=convert.ids_to_bytes(numbers[piece]),
                vectors=convert.vectors_to_message(vectors[piece]),
                payloads=texts[piece],
            )
            try:
                written += self._wire.call(self._wire.points.Upsert, request).rows
            except Exception as error:
                if not written:
                    raise
                raise type(error)(f"{error.args[0]} (of this upsert, the first {written} rows are written)") from error
        return written

    def _pieces(self, vectors: NDArray[np.floating], texts: Sequence[str]) -> Iterator[slice]:
        sizes = np.full(len(vectors), vectors.itemsize * vectors.shape[1] + 8, np.int64)
        if texts:
            sizes += np.fromiter((len(text.encode()) + 8 for text in texts), np.int64, len(texts))
        most = self._wire.limits.message_bytes - _OVERHEAD
        if len(sizes) and sizes.max() > most:
            raise LimitExceeded(
                f"row {sizes.argmax()} needs {sizes.max()} bytes: this server takes messages of {most + _OVERHEAD}; "
                "shorten its payload, or start the server with a larger max_message_bytes"
            )
        ends = np.cumsum(sizes)
        start = 0
        while start < len(sizes):
            before = ends[start - 1] if start else 0
            end = int(np.searchsorted(ends, before + min(_PIECE_BYTES, most), side="right"))
            end = max(end, start + 1)
            yield slice(start, end)
            start = end

    def delete(self, ids: ArrayLike | None = None, *, filter: FilterLike | None = None) -> int:
        """Removes rows and their payloads; returns how many there were. Ids not present are passed over. Or ``filter``:
        all rows that match it, in one write."""
        which = check_delete(ids, filter)
        if isinstance(which, Filter):
            by_filter = pb.DeleteRequest(collection=self._name, filter=which.text)
            return int(self._wire.call(self._wire.points.Delete, by_filter).rows)
        rows = 0
        for piece in self._id_pieces(np.unique(which)):
            request = pb.DeleteRequest(collection=self._name, ids=convert.ids_to_bytes(piece))
            rows += int(self._wire.call(self._wire.points.Delete, request).rows)
        return rows

    def count(self, filter: FilterLike | None = None) -> int:
        """How many rows match a filter; without one, how many there are."""
        request = pb.CountRequest(collection=self._name)
        if filter is not None:
            request.filter = as_filter(filter).text
        return int(self._wire.call(self._wire.points.Count, request).rows)

    def search(
        self,
        q: ArrayLike,
        k: int = 10,
        *,
        query: Query = "float",
        oversampling: int | None = None,
        exact: bool = False,
        allow: ArrayLike | None = None,
        filter: FilterLike | None = None,
        with_payloads: bool = False,
        rescore: int | None = None,
        binarizer: Binarizer | None = None,
    ) -> CollectionHits:
        """The k best rows for each query, as locally: the same ids and the same scores, bit for bit. A ``binarizer``
        must be registered on the server (`Client.register_model`)."""
        floats = check_query(q, k, query, oversampling, exact, (binarizer or self._model).query_dim)
        check_rescore(rescore, k)
        vectors = _as_sent(floats, q)
        request = pb.SearchRequest(
            collection=self._name,
            k=k,
            query=convert.QUERY_MODES[query],
            with_payloads=with_payloads,
            model=None if binarizer is None else binarizer.digest,
            rescore=rescore,
        )
        if exact:
            request.exact = True
        elif oversampling is not None:
            request.oversampling = oversampling
        if allow is not None:
            request.allow = convert.ids_to_bytes(check_ids(allow, "allow"))
        if filter is not None:
            request.filter = as_filter(filter).text
        limits = self._wire.limits
        by_size = limits.message_bytes - _OVERHEAD - len(request.allow) - 4 * len(request.filter)
        by_size //= vectors.itemsize * vectors.shape[1]
        step = max(1, min(limits.queries, limits.answers // max(k, rescore or 0), by_size))
        found: list[Hits] = []
        payloads: list[list[Payload | None]] = []
        for start in range(0, len(vectors), step):
            request.queries.CopyFrom(convert.vectors_to_message(vectors[start : start + step]))
            reply = self._wire.call(self._wire.points.Search, request)
            found.append(convert.hits_from_message(reply, k, ascending=self._model.metric == "l2"))
            texts = iter(reply.payloads)
            if with_payloads:
                payloads += [[load_payload(next(texts)) for _ in range(n)] + [None] * (k - n) for n in reply.counts]
        if len(found) == 1:
            return CollectionHits(*found[0], payloads if with_payloads else None)
        scores, numbers = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return CollectionHits(scores, numbers, payloads if with_payloads else None)

    def get_payloads(self, ids: ArrayLike) -> list[Payload | None]:
        """The payload of each row, None where it has none. ``KeyError`` names the first id that is not in the
        collection."""
        wanted = check_ids(ids)
        # Each id once, in the order in which they came: the first that is missing is the one to name.
        once, first, where = np.unique(wanted, return_index=True, return_inverse=True)
        order = np.argsort(first)
        texts = [text for piece in self._id_pieces(once[order]) for text in self._payload_texts(piece)]
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return [load_payload(texts[i]) for i in place[where].tolist()]

    def _payload_texts(self, ids: NDArray[np.int64]) -> list[str]:
        """Payloads of different ids, in as many replies as they need."""
        request = pb.GetPayloadsRequest(collection=self._name, ids=convert.ids_to_bytes(ids))
        try:
            return list(self._wire.call(self._wire.points.GetPayloads, request).payloads)
        except LimitExceeded:
            if len(ids) < 2:
                raise
        half = len(ids) // 2
        return self._payload_texts(ids[:half]) + self._payload_texts(ids[half:])

    def _id_pieces(self, ids: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        limits = self._wire.limits
        step = max(1, min(limits.ids, min(_PIECE_BYTES, limits.message_bytes - _OVERHEAD) // 8))
        for start in range(0, len(ids), step):
            yield ids[start : start + step]

    def migrate(self, bz: Binarizer, *, wait: bool = False) -> None:
        """Has every row coded by another model, which is registered on the way; see
        `bebr.store.collection.Collection.migrate`."""
        request = pb.MigrateCollectionRequest(name=self._name, model=self._wire.register(bz))
        self._wire.call(self._wire.collections.Migrate, request)
        while wait and self.stats().target:
            time.sleep(_POLL)

    def stats(self) -> CollectionStats:
        """Figures of the collection, those of the server's coalescing included."""
        reply = self._wire.call(self._wire.admin.Stats, pb.StatsRequest(collection=self._name))
        batching = reply.batching
        return CollectionStats(
            rows=reply.rows,
            segments=reply.segments,
            tail_rows=reply.tail_rows,
            dead_rows=reply.dead_rows,
            bytes_on_disk=reply.bytes_on_disk,
            model=convert.model_from_message(reply.model),
            batching=BatchingStats(batching.requests, batching.queries, batching.batches, batching.largest),
            kept_bytes=reply.kept_bytes,
            target=reply.target,
            rows_behind=reply.rows_behind,
        )

    def flush(self) -> None:
        """Seals the tail into a segment file; see `bebr.store.collection.Collection.flush`."""
        self._wire.call(self._wire.admin.Flush, pb.FlushRequest(collection=self._name))


def _as_sent(floats: NDArray[np.float32], given: ArrayLike) -> NDArray[np.floating]:
    """float16 that was given is sent as such; it became float32 and comes back without loss."""
    return floats.astype(np.float16) if getattr(given, "dtype", None) == np.float16 else floats
