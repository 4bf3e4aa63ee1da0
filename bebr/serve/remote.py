"""A collection on a server, with the methods of a local one."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import as_vectors
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.bare import VectorsLike, bare_rows
from bebr.collection.checks import (
    check_beside_text,
    check_delete,
    check_groups,
    check_ids,
    check_new_payloads,
    check_page,
    check_query,
    check_query_ids,
    check_rows,
    check_sample,
    check_texts,
    check_window,
    load_payload,
)
from bebr.collection.filter_form import FilterLike, as_filter
from bebr.collection.filter_tree import Filter
from bebr.collection.handle import Handle
from bebr.collection.keys import Id, IdsLike, Named, named_array
from bebr.collection.protocol import (
    BatchingStats,
    CollectionHits,
    CollectionStats,
    Fusion,
    GroupValue,
    ModelInfo,
    OnDuplicate,
    Payload,
    RecallEstimate,
    Row,
)
from bebr.errors import IncompatibleModel, LimitExceeded
from bebr.index import Hits, check_k, check_oversampling
from bebr.index.raw import check_rescore
from bebr.serve import convert
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc

# A large upsert is sent in pieces of this size: large enough that a commit per piece costs little, small enough to show
# progress and to leave the server's threads to others.
_PIECE_BYTES = 4 << 20
# Pieces of one stream: the server codes one while the client makes the next. A stream has one time limit.
_STREAM_PIECES = 16
# Seconds between two looks at whether a migration is done.
_POLL = 0.1
# Room in a message for everything that is not a column.
_OVERHEAD = 4096
# Bytes that a text takes in a request beside its own.
_TEXT_BYTES = 6


@dataclass(frozen=True)
class Wire:
    """What a collection needs of its client: how to make a call, the services, and the limits of the server."""

    call: Callable[..., Any]
    collections: rpc.CollectionsStub
    points: rpc.PointsStub
    admin: rpc.AdminStub
    limits: pb.Limits
    register: Callable[[Binarizer], str]
    retries: int


class RemoteCollection(Handle):
    """A collection on a server; see `bebr.store.collection.Collection`, which it matches method for method."""

    def __init__(self, wire: Wire, name: str, model: ModelInfo, id: int, fetch: Callable[[str], Binarizer]) -> None:
        self._wire = wire
        self._name = name
        self._model = model
        self._id = id
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

    def upsert(
        self,
        ids: IdsLike,
        x: VectorsLike,
        payloads: Sequence[Payload | None] | None = None,
        *,
        on_duplicate: OnDuplicate = "last",
    ) -> int:
        """Inserts rows, replacing rows of the same id as a whole; returns how many were written.

        As locally, but a large one is streamed in pieces (of about 4 MB) that are each written whole or not at all. If
        one fails, the error says how many rows are on disk; repeating the whole upsert is safe. ``x`` may be float16:
        it then travels at half the size.
        """
        named, floats, texts = check_rows(ids, x, payloads, self._model.input_dim, on_duplicate)
        vectors, bare = _as_sent(floats, x), bare_rows(floats)
        sizes = np.full(len(vectors), vectors.itemsize * vectors.shape[1] + 8, np.int64)
        sizes += _key_sizes(named)
        if texts:
            sizes += _text_sizes(texts)
        pieces = list(self._sized_pieces(sizes))

        def message(piece: slice) -> pb.UpsertRequest:
            request = pb.UpsertRequest(
                collection=self._name,
                ids=convert.ids_to_bytes(named.numbers[piece]),
                keys=named[piece].keys,
                payloads=texts[piece],
            )
            some = vectors[piece]
            if bare is not None:
                request.without_vector.extend(np.flatnonzero(bare[piece]).tolist())
                some = some[~bare[piece]]
            request.vectors.CopyFrom(convert.vectors_to_message(some))
            return request

        written = 0
        for start in range(0, len(pieces), _STREAM_PIECES):
            try:
                written += self._put(pieces[start : start + _STREAM_PIECES], message)
            except Exception as error:
                if not written:
                    raise
                raise type(error)(f"{error.args[0]} (of this upsert, the first {written} rows are written)") from error
        return written

    def _put(self, pieces: Sequence[slice], message: Callable[[slice], pb.UpsertRequest]) -> int:
        """Upserts a few pieces, in a stream; where that breaks off or has too little time, one by one: each of these
        calls has a time of its own and is repeated."""
        rows = int(sum(piece.stop - piece.start for piece in pieces))
        if len(pieces) > 1:
            try:
                # gRPC may send a stream again that no server saw, and leaves out messages then.
                if self._wire.call(self._wire.points.UpsertStream, map(message, pieces)).rows == rows:
                    return rows
            except TimeoutError:
                pass
            except ConnectionError:
                if not self._wire.retries:
                    raise
        for piece in pieces:
            self._wire.call(self._wire.points.Upsert, message(piece))
        return rows

    def set_payloads(self, ids: IdsLike, payloads: Sequence[Payload | None], *, merge: bool = False) -> int:
        """Replaces the payloads of rows, or sets keys in them, and leaves their codes; returns how many rows there
        were. See `bebr.store.collection.Collection.set_payloads`; a large call is sent in pieces that are each applied
        whole or not at all."""
        named, texts = check_new_payloads(ids, payloads)
        rows = 0
        for piece in self._sized_pieces(_text_sizes(texts) + _key_sizes(named) + 8, self._wire.limits.ids):
            request = pb.SetPayloadsRequest(
                collection=self._name,
                ids=convert.ids_to_bytes(named.numbers[piece]),
                keys=named[piece].keys,
                payloads=texts[piece],
                merge=merge,
            )
            rows += int(self._wire.call(self._wire.points.SetPayloads, request).rows)
        return rows

    def truncate(self) -> int:
        """Removes all rows; returns how many there were."""
        return int(self._wire.call(self._wire.collections.Truncate, pb.TruncateRequest(name=self._name)).rows)

    def _sized_pieces(self, sizes: NDArray[np.int64], most_rows: int = 2**31) -> Iterator[slice]:
        """Rows of ``sizes`` bytes each, as many together as a request should have."""
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
            end = min(max(end, start + 1), start + most_rows)
            yield slice(start, end)
            start = end

    def delete(self, ids: IdsLike | None = None, *, filter: FilterLike | None = None) -> int:
        """Removes rows and their payloads; returns how many there were. Ids not present are passed over. Or ``filter``:
        all rows that match it, in one write."""
        which = check_delete(ids, filter)
        if isinstance(which, Filter):
            by_filter = pb.DeleteRequest(collection=self._name, filter=which.text)
            return int(self._wire.call(self._wire.points.Delete, by_filter).rows)
        rows = 0
        for piece in self._id_pieces(which.once()):
            request = pb.DeleteRequest(collection=self._name, ids=convert.ids_to_bytes(piece.numbers), keys=piece.keys)
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
        q: ArrayLike | None,
        k: int = 10,
        *,
        query: Query = "float",
        oversampling: int | None = None,
        exact: bool = False,
        allow: IdsLike | None = None,
        filter: FilterLike | None = None,
        radius: float | None = None,
        offset: int = 0,
        group_by: str | None = None,
        group_size: int = 1,
        with_payloads: bool = False,
        rescore: int | None = None,
        binarizer: Binarizer | None = None,
        text: str | Sequence[str] | None = None,
        fusion: Fusion = "rrf",
    ) -> CollectionHits:
        """The k best rows for each query, as locally: the same ids and the same scores, bit for bit. A ``binarizer``
        must be registered on the server (`Client.register_model`)."""
        depth, groups = check_window(k, radius, offset), check_groups(group_by, group_size)
        texts, vectors, size = check_texts(text, fusion), None, 0
        if q is not None:
            floats = check_query(q, k, query, oversampling, exact, (binarizer or self._model).query_dim)
            vectors = _as_sent(floats, q)
            size = vectors.itemsize * vectors.shape[1]
        check_beside_text(texts, vectors, radius, groups)
        check_rescore(rescore, depth)
        request = self._request(k, oversampling, exact, allow, filter, radius, offset, with_payloads, rescore)
        request.query = convert.QUERY_MODES[query]
        if groups is not None:
            request.group_by, request.group_size = groups.by, groups.size

        def put(piece: slice) -> None:
            if vectors is not None:
                request.queries.CopyFrom(convert.vectors_to_message(vectors[piece]))
            request.text[:] = (texts or [])[piece]

        if texts is not None:
            request.fusion = convert.FUSIONS[fusion]
            size += max(len(one.encode()) + _TEXT_BYTES for one in texts)
        if vectors is None:
            return self._search(request, len(texts or ()), size, depth, put)
        request.model = (binarizer or self._model).digest
        try:
            return self._search(request, len(vectors), size, depth, put)
        except IncompatibleModel:
            if binarizer is not None or not self._migrated():
                raise
        request.model = self._model.digest
        return self._search(request, len(vectors), size, depth, put)

    def _migrated(self) -> bool:
        """Whether it is still the same collection, but has got another model meanwhile, which is known then."""
        now = self._get()
        model = convert.model_from_message(now.model)
        if now.id != self._id or model.digest == self._model.digest:
            return False
        self._model = model
        return True

    def search_ids(
        self,
        ids: IdsLike,
        k: int = 10,
        *,
        oversampling: int | None = None,
        exact: bool = False,
        allow: IdsLike | None = None,
        filter: FilterLike | None = None,
        radius: float | None = None,
        offset: int = 0,
        with_payloads: bool = False,
        rescore: int | None = None,
    ) -> CollectionHits:
        """The k rows most like each row of ``ids`` int64[n], itself left out; see
        `bebr.store.collection.Collection.search_ids`."""
        depth = check_window(k, radius, offset)
        check_oversampling(oversampling, exact)
        check_rescore(rescore, depth)
        named = check_query_ids(check_ids(ids))
        request = self._request(k, oversampling, exact, allow, filter, radius, offset, with_payloads, rescore)

        def put(piece: slice) -> None:
            request.by_ids = convert.ids_to_bytes(named.numbers[piece])
            request.by_keys[:] = named[piece].keys or []

        each = 8 + int(_key_sizes(named).max())
        return self._search(request, len(named), each, depth, put)

    def _request(
        self,
        k: int,
        oversampling: int | None,
        exact: bool,
        allow: IdsLike | None,
        filter: FilterLike | None,
        radius: float | None,
        offset: int,
        with_payloads: bool,
        rescore: int | None,
    ) -> pb.SearchRequest:
        request = pb.SearchRequest(
            collection=self._name, k=k, radius=radius, offset=offset, with_payloads=with_payloads, rescore=rescore
        )
        if exact:
            request.exact = True
        elif oversampling is not None:
            request.oversampling = oversampling
        if allow is not None:
            allowed = check_ids(allow, "allow")
            request.allow = convert.ids_to_bytes(allowed.numbers)
            request.allow_keys.extend(allowed.keys or [])
        if filter is not None:
            request.filter = as_filter(filter).text
        return request

    def _search(
        self, request: pb.SearchRequest, count: int, query_bytes: int, depth: int, put: Callable[[slice], None]
    ) -> CollectionHits:
        """The hits of ``count`` queries, in as many calls as they need. ``put`` sets those of one call."""
        limits, with_payloads = self._wire.limits, request.with_payloads
        width = request.group_size or request.k  # of a row of hits: one query's, or one group's
        by_size = (limits.message_bytes - _OVERHEAD - request.ByteSize()) // query_bytes
        step = max(
            1,
            min(limits.queries, limits.answers // (max(depth, request.rescore) * max(request.group_size, 1)), by_size),
        )
        found: list[Hits] = []
        keys: list[list[bytes]] = []
        payloads: list[list[Payload | None]] = []
        groups: list[GroupValue | None] = []
        for start in range(0, count, step):
            put(slice(start, start + step))
            reply = self._wire.call(self._wire.points.Search, request)
            groups += [json.loads(text) if text else None for text in reply.groups]
            ascending = self._model.metric == "l2" and not request.text
            hits, some = convert.hits_from_message(reply, width, ascending)
            found.append(hits)
            keys.append(some)
            texts = iter(reply.payloads)
            if with_payloads:
                payloads += [[load_payload(next(texts)) for _ in range(n)] + [None] * (width - n) for n in reply.counts]
        scores, numbers = (np.concatenate(parts) for parts in zip(*found, strict=True)) if len(found) > 1 else found[0]
        every = None
        if any(keys):  # a row may have got the first one meanwhile
            every = [key for some, hits in zip(keys, found, strict=True) for key in some or [b""] * hits.ids.size]
        ids = named_array(numbers, every)
        if not request.group_size:
            return CollectionHits(scores, ids, payloads if with_payloads else None)
        k = request.k
        rows = (
            [list(itertools.chain(*payloads[i : i + k])) for i in range(0, len(payloads), k)] if with_payloads else None
        )
        values = [groups[i : i + k] for i in range(0, len(groups), k)]
        return CollectionHits(scores.reshape(count, -1), ids.reshape(count, -1), rows, values)

    def get(self, ids: IdsLike, *, payloads: bool = True, vectors: bool = False) -> list[Row | None]:
        """The row of each of ``ids`` int64[n], None for an id that is not there; see
        `bebr.store.collection.Collection.get`."""
        wanted = check_ids(ids)
        request = pb.GetRequest(collection=self._name, with_payloads=payloads, with_vectors=vectors)
        pieces = self._id_pieces(wanted.once(), 8 + 4 * self._model.input_dim * vectors)
        rows = {row.id: row for piece in pieces for row in self._rows(request, piece)}
        return [rows.get(id) for id in wanted.ids()]

    def _rows(self, request: pb.GetRequest, ids: Named) -> list[Row]:
        """Those that are there of different ids, in as many replies as they need."""
        request.ids = convert.ids_to_bytes(ids.numbers)
        request.keys[:] = ids.keys or []
        try:
            return convert.rows_from_message(self._wire.call(self._wire.points.Get, request).rows)
        except LimitExceeded:
            if len(ids) < 2:
                raise
        half = len(ids) // 2
        return self._rows(request, ids[:half]) + self._rows(request, ids[half:])

    def scroll(
        self,
        *,
        limit: int = 1000,
        after: Id | None = None,
        filter: FilterLike | None = None,
        payloads: bool = True,
        vectors: bool = False,
    ) -> list[Row]:
        """The next ``limit`` rows in ascending order of ids, in as many replies as they need; see
        `bebr.store.collection.Collection.scroll`."""
        last = check_page(limit, after)
        request = pb.ScrollRequest(collection=self._name, with_payloads=payloads, with_vectors=vectors)
        if filter is not None:
            request.filter = as_filter(filter).text
        rows: list[Row] = []
        more = True
        while more:
            if last is not None:
                request.ClearField("after_key" if not last.key(0) else "after")
                if last.key(0):
                    request.after_key = last.key(0)
                else:
                    request.after = int(last.numbers[0])
            request.limit = min(limit - len(rows), self._wire.limits.ids)
            reply = self._wire.call(self._wire.points.Scroll, request)
            page = convert.rows_from_message(reply.rows)
            rows += page
            more = len(rows) < limit and (reply.full or len(page) == request.limit)
            last = check_page(limit, rows[-1].id) if rows else None
        return rows

    def _id_pieces(self, ids: Named, bytes_each: int = 8) -> Iterator[Named]:
        """``bytes_each``: what an id takes in its request, or its row in the reply, key excluded."""
        for piece in self._sized_pieces(_key_sizes(ids) + bytes_each, self._wire.limits.ids):
            yield ids[piece]

    def migrate(self, bz: Binarizer, *, wait: bool = False) -> None:
        """Has every row coded by another model, which is registered on the way; see
        `bebr.store.collection.Collection.migrate`."""
        request = pb.MigrateCollectionRequest(name=self._name, model=self._wire.register(bz))
        self._wire.call(self._wire.collections.Migrate, request)
        self._wait(wait)

    def retrain(self, bytes_per_vector: int | None = None, *, wait: bool = False) -> None:
        """Trains a model on a sample of the kept vectors and migrates to it; see
        `bebr.store.collection.Collection.retrain`. Training may take longer than the client's `timeout`: give it one of
        minutes."""
        request = pb.RetrainCollectionRequest(name=self._name, bytes_per_vector=bytes_per_vector)
        self._wire.call(self._wire.collections.Retrain, request)
        self._wait(wait)

    def measure_recall(
        self, sample: ArrayLike | int = 1000, k: int = 10, *, rescore: int | None = None
    ) -> RecallEstimate:
        """The share of the `k` best rows that searches find, against exact scores; see
        `bebr.store.collection.Collection.measure_recall`."""
        check_rescore(rescore, check_k(k))
        request = pb.MeasureRecallRequest(collection=self._name, k=k, rescore=rescore)
        if isinstance(sample, int | np.integer):
            request.rows = check_sample(sample)
        else:
            queries = as_vectors(sample, "sample", self._model.query_dim, allow_empty=False)
            request.queries.CopyFrom(convert.vectors_to_message(_as_sent(queries, sample)))
        reply = self._wire.call(self._wire.admin.MeasureRecall, request)
        return RecallEstimate(reply.recall, reply.low, reply.high, reply.queries, k)

    def _wait(self, wait: bool) -> None:
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


def _key_sizes(ids: Named) -> NDArray[np.int64]:
    """Bytes that the key of each takes in a message, at most."""
    if ids.keys is None:
        return np.zeros(len(ids), np.int64)
    return np.fromiter((len(key) + 8 for key in ids.keys), np.int64, len(ids))


def _text_sizes(texts: Sequence[str]) -> NDArray[np.int64]:
    """Bytes that each takes in a message, at most."""
    return np.fromiter((len(text.encode()) + 8 for text in texts), np.int64, len(texts))


def _as_sent(floats: NDArray[np.float32], given: VectorsLike) -> NDArray[np.floating]:
    """float16 that was given is sent as such; it became float32 and comes back without loss."""
    return floats.astype(np.float16) if getattr(given, "dtype", None) == np.float16 else floats
