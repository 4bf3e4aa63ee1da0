"""What is asked of a collection on a server: the methods of a local one, as steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import as_vectors
from bebr.binarizer import Binarizer
from bebr.collection.bare import VectorsLike
from bebr.collection.checks import (
    check_conflict,
    check_delete,
    check_effort,
    check_ids,
    check_new_payloads,
    check_page,
    check_rows,
    check_sample,
    check_stream_rows,
    check_timeout,
)
from bebr.collection.filter_form import FilterLike, as_filter
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Id, IdsLike, Named
from bebr.collection.protocol import (
    BatchingStats,
    CollectionStats,
    OnConflict,
    OnDuplicate,
    Payload,
    RecallEstimate,
    Row,
    VectorStream,
)
from bebr.errors import LimitExceeded
from bebr.index import check_k
from bebr.index.raw import check_rescore
from bebr.serve import convert
from bebr.serve.messages import rows_on_wire
from bebr.serve.remote_searches import SearchCalls
from bebr.serve.steps import Ask, Pause, Steps
from bebr.serve.wire import as_sent, key_sizes, sized_pieces, text_sizes
from bebr.v1 import bebr_pb2 as pb

# Pieces of one stream: the server codes one while the client makes the next. A stream has one time limit.
_STREAM_PIECES = 16
# Seconds between two looks at whether a migration is done, or merges are.
_POLL = 0.1


class CollectionCalls(SearchCalls):
    """A collection on a server; see `bebr.store.collection.Collection`, which it matches method for method."""

    def rows(self) -> Steps[int]:
        """How many there are."""
        return int((yield from self._get()).rows)

    def upsert(
        self,
        ids: IdsLike,
        x: VectorsLike,
        payloads: Sequence[Payload | None] | None = None,
        *,
        on_duplicate: OnDuplicate = "last",
        on_conflict: OnConflict = "replace",
    ) -> Steps[int]:
        """Inserts rows, replacing rows of the same id as a whole; returns how many were written.

        As locally, but a large one is streamed in pieces (of about 4 MB) that are each written whole or not at all. If
        one fails, the error says how many rows are on disk; repeating the whole upsert is safe. ``x`` may be float16:
        it then travels at half the size. ``on_conflict``: for each piece; a call that was repeated, since the
        connection broke, may meet its own rows.
        """
        conflict = convert.CONFLICTS[check_conflict(on_conflict)]
        named, floats, texts = check_rows(ids, x, payloads, self._model.input_dim, on_duplicate)
        about = {"model": self._model.digest, "collection_id": self._id, "conflict": conflict}
        head = pb.UpsertRequest(collection=self._name, **about)
        return (yield from self._upload(head, named, as_sent(floats, x), texts))

    def _upload(
        self, head: pb.UpsertRequest, named: Named, vectors: NDArray[np.floating], texts: list[str]
    ) -> Steps[int]:
        """Upserts rows in as many messages as they need; ``head``: what is the same in all. Returns how many were
        written."""
        sizes = np.full(len(vectors), vectors.itemsize * vectors.shape[1] + 8, np.int64)
        sizes += key_sizes(named)
        if texts:
            sizes += text_sizes(texts)
        pieces = list(sized_pieces(self._wire.limits, sizes))

        def message(piece: slice) -> bytes:
            return rows_on_wire(head, named[piece], vectors[piece], texts[piece])

        written = 0
        for start in range(0, len(pieces), _STREAM_PIECES):
            try:
                written += yield from self._put(pieces[start : start + _STREAM_PIECES], message)
            except Exception as error:
                if not written:
                    raise
                raise type(error)(f"{error.args[0]} (of this upsert, the first {written} rows are written)") from error
        return written

    def _put(self, pieces: Sequence[slice], message: Callable[[slice], bytes]) -> Steps[int]:
        """Upserts a few pieces, in a stream; where that breaks off or has too little time, one by one: each of these
        calls has a time of its own and is repeated."""
        rows = int(sum(piece.stop - piece.start for piece in pieces))
        if len(pieces) > 1:
            try:
                reply = yield Ask("Points/UpsertStream", map(message, pieces))
                # gRPC may send a stream again that no server saw, and leaves out messages then.
                if rows in (reply.received, reply.rows):
                    return int(reply.rows)
            except TimeoutError:
                pass
            except ConnectionError:
                if not self._wire.retries:
                    raise
        written = 0
        for piece in pieces:
            written += int((yield Ask("Points/Upsert", message(piece))).rows)
        return written

    def set_payloads(self, ids: IdsLike, payloads: Sequence[Payload | None], *, merge: bool = False) -> Steps[int]:
        """Replaces the payloads of rows, or sets keys in them, and leaves their codes; returns how many rows there
        were. See `bebr.store.collection.Collection.set_payloads`; a large call is sent in pieces that are each applied
        whole or not at all."""
        named, texts = check_new_payloads(ids, payloads)
        rows = 0
        for piece in sized_pieces(self._wire.limits, text_sizes(texts) + key_sizes(named) + 8, self._wire.limits.ids):
            request = pb.SetPayloadsRequest(
                collection=self._name,
                ids=convert.ids_to_bytes(named.numbers[piece]),
                keys=named[piece].keys,
                payloads=texts[piece],
                merge=merge,
            )
            rows += int((yield Ask("Points/SetPayloads", request)).rows)
        return rows

    def truncate(self) -> Steps[int]:
        """Removes all rows; returns how many there were."""
        return int((yield Ask("Collections/Truncate", pb.TruncateRequest(name=self._name))).rows)

    def delete(self, ids: IdsLike | None = None, *, filter: FilterLike | None = None) -> Steps[int]:
        """Removes rows and their payloads; returns how many there were. Ids not present are passed over. Or ``filter``:
        all rows that match it, in one write."""
        which = check_delete(ids, filter)
        if isinstance(which, Filter):
            by_filter = pb.DeleteRequest(collection=self._name, filter=which.text)
            return int((yield Ask("Points/Delete", by_filter)).rows)
        rows = 0
        for piece in self._id_pieces(which.once()):
            request = pb.DeleteRequest(collection=self._name, ids=convert.ids_to_bytes(piece.numbers), keys=piece.keys)
            rows += int((yield Ask("Points/Delete", request)).rows)
        return rows

    def count(self, filter: FilterLike | None = None) -> Steps[int]:
        """How many rows match a filter; without one, how many there are."""
        request = pb.CountRequest(collection=self._name)
        if filter is not None:
            request.filter = as_filter(filter).text
        return int((yield Ask("Points/Count", request)).rows)

    def get(self, ids: IdsLike, *, payloads: bool = True, vectors: bool = False) -> Steps[list[Row | None]]:
        """The row of each of ``ids`` int64[n], None for an id that is not there; see
        `bebr.store.collection.Collection.get`."""
        wanted = check_ids(ids)
        request = pb.GetRequest(collection=self._name, with_payloads=payloads, with_vectors=vectors)
        pieces = self._id_pieces(wanted.once(), 8 + 4 * self._model.input_dim * vectors)
        rows: dict[Id, Row] = {}
        for piece in pieces:
            rows |= {row.id: row for row in (yield from self._rows(request, piece))}
        return [rows.get(id) for id in wanted.ids()]

    def _rows(self, request: pb.GetRequest, ids: Named) -> Steps[list[Row]]:
        """Those that are there of different ids, in as many replies as they need."""
        request.ids = convert.ids_to_bytes(ids.numbers)
        request.keys[:] = ids.keys or []
        try:
            return convert.rows_from_message((yield Ask("Points/Get", request)).rows)
        except LimitExceeded:
            if len(ids) < 2:
                raise
        half = len(ids) // 2
        first = yield from self._rows(request, ids[:half])
        return first + (yield from self._rows(request, ids[half:]))

    def scroll(
        self,
        *,
        limit: int = 1000,
        after: Id | None = None,
        filter: FilterLike | None = None,
        payloads: bool = True,
        vectors: bool = False,
        behind: bool = False,
    ) -> Steps[list[Row]]:
        """The next ``limit`` rows in ascending order of ids, in as many replies as they need; see
        `bebr.store.collection.Collection.scroll`."""
        last = check_page(limit, after)
        request = pb.ScrollRequest(collection=self._name, with_payloads=payloads, with_vectors=vectors, behind=behind)
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
            reply = yield Ask("Points/Scroll", request)
            page = convert.rows_from_message(reply.rows)
            rows += page
            more = len(rows) < limit and (reply.full or len(page) == request.limit)
            last = check_page(limit, rows[-1].id) if rows else None
        return rows

    def _id_pieces(self, ids: Named, bytes_each: int = 8) -> Iterator[Named]:
        """``bytes_each``: what an id takes in its request, or its row in the reply, key excluded."""
        for piece in sized_pieces(self._wire.limits, key_sizes(ids) + bytes_each, self._wire.limits.ids):
            yield ids[piece]

    def attach(self, path: str | os.PathLike[str]) -> Steps[int]:
        """ValueError: no path goes over the wire."""
        raise ValueError(
            f"attach of {os.fspath(path)!r}: a server takes no files; stop it and run `bebr db attach` where its data "
            "is, or upsert the vectors"
        )

    def migrate(self, bz: Binarizer, *, vectors: VectorStream | None = None, wait: bool = False) -> Steps[None]:
        """Has every row coded by another model, which is registered on the way; see
        `bebr.store.collection.Collection.migrate`. A large batch of ``vectors`` is streamed as an upsert is."""
        digest = yield from self._wire.register(bz)
        request = pb.MigrateCollectionRequest(name=self._name, model=digest, streamed=vectors is not None)
        yield Ask("Collections/Migrate", request)
        if vectors is None:
            yield from self._wait(wait)
            return
        head = pb.UpsertRequest(collection=self._name, stream_model=digest)
        for ids, batch in vectors:
            named, floats = check_stream_rows(ids, batch, bz.input_dim)
            yield from self._upload(head, named, as_sent(floats, batch), [])

    def cutover(self, *, bare: bool = False, keep_old: bool = False) -> Steps[None]:
        """Ends a migration by streamed vectors: they and their model are the collection's; see
        `bebr.store.collection.Collection.cutover`. Other clients' searches and upserts are refused with
        ``IncompatibleModel`` until they get the collection anew: they embed with the old producer."""
        made = yield Ask("Collections/Cutover", pb.CutoverRequest(name=self._name, bare=bare, keep_old=keep_old))
        self._model, self._id = convert.model_from_message(made.model), made.id

    def rollback(self, *, bare: bool = False) -> Steps[None]:
        """Ends a migration by streamed vectors before its cutover, or takes a cutover back that kept the old ones; see
        `bebr.store.collection.Collection.rollback`."""
        made = yield Ask("Collections/Rollback", pb.RollbackRequest(name=self._name, bare=bare))
        self._model, self._id = convert.model_from_message(made.model), made.id

    def retrain(self, bytes_per_vector: int | None = None, *, wait: bool = False) -> Steps[None]:
        """Trains a model on a sample of the kept vectors and migrates to it; see
        `bebr.store.collection.Collection.retrain`. Training may take longer than the client's `timeout`: give it one of
        minutes."""
        request = pb.RetrainCollectionRequest(name=self._name, bytes_per_vector=bytes_per_vector)
        yield Ask("Collections/Retrain", request)
        yield from self._wait(wait)

    def measure_recall(
        self,
        sample: ArrayLike | int = 1000,
        k: int = 10,
        *,
        rescore: int | None = None,
        nprobe: int | None = None,
        ef_search: int | None = None,
    ) -> Steps[RecallEstimate]:
        """The share of the `k` best rows that searches find, against exact scores; see
        `bebr.store.collection.Collection.measure_recall`."""
        check_rescore(rescore, check_k(k))
        check_effort(nprobe, ef_search, exact=False)
        effort = {"nprobe": nprobe, "ef_search": ef_search}
        request = pb.MeasureRecallRequest(collection=self._name, k=k, rescore=rescore, **effort)
        if isinstance(sample, int | np.integer):
            request.rows = check_sample(sample)
        else:
            queries = as_vectors(sample, "sample", self._model.query_dim, allow_empty=False)
            request.queries.CopyFrom(convert.vectors_to_message(as_sent(queries, sample)))
        reply = yield Ask("Admin/MeasureRecall", request)
        return RecallEstimate(reply.recall, reply.low, reply.high, reply.queries, k)

    def _wait(self, wait: bool) -> Steps[None]:
        while wait and (yield from self.stats()).target:
            yield Pause(_POLL)

    def stats(self) -> Steps[CollectionStats]:
        """Figures of the collection, those of the server's coalescing included."""
        reply = yield Ask("Admin/Stats", pb.StatsRequest(collection=self._name))
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
            former=reply.former,
            merging=reply.merging,
            rows_behind=reply.rows_behind,
            rows_by_kind=dict(reply.rows_by_kind),
            rows_by_device=dict(reply.rows_by_device),
        )

    def flush(self) -> Steps[None]:
        """Seals the rows in memory into a segment file; see `bebr.store.collection.Collection.flush`."""
        yield Ask("Admin/Flush", pb.FlushRequest(collection=self._name))

    def settle(self, timeout: float | None = None) -> Steps[None]:
        """Seals, and waits until the server has merged files until none is due; see
        `bebr.store.collection.Collection.settle`. The server holds no thread for it: the client looks now
        and then. Where writes never rest it may not end without a `timeout`."""
        seconds = check_timeout(timeout)
        yield from self.flush()
        end = None if seconds is None else time.monotonic() + seconds
        while (yield from self.stats()).merging:
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"files of collection {self._name!r} are still being merged after {timeout} s")
            yield Pause(_POLL)
