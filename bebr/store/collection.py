"""A collection on disk, as its users see it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.bare import VectorsLike
from bebr.collection.checks import (
    check_beside_text,
    check_delete,
    check_groups,
    check_ids,
    check_model,
    check_new_payloads,
    check_page,
    check_query,
    check_query_ids,
    check_rows,
    check_texts,
    check_window,
    load_payload,
)
from bebr.collection.filter_form import FilterLike, as_filter
from bebr.collection.filter_tree import Filter
from bebr.collection.handle import Handle
from bebr.collection.keys import Id, IdsLike, Named, named_array
from bebr.collection.options import Groups, SearchOptions
from bebr.collection.protocol import (
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
from bebr.index import Hits, check_oversampling
from bebr.index.raw import check_rescore, default_candidates
from bebr.index.segments import StopFlag
from bebr.store.contents import Contents
from bebr.store.grouping import search_groups
from bebr.store.keys import keys_of, resolve
from bebr.store.measuring import measured_recall
from bebr.store.ranking import FUSED, fused, search_text
from bebr.store.reads import ids_after, read_rows
from bebr.store.retraining import MOST_ROWS
from bebr.store.searching import EXACT_ROWS, search_rows, search_vectors
from bebr.store.snapshot import Snapshot


class Collection(Handle):
    """A named set of rows on disk that share one binarizer. Made by `Database`; safe to use from many threads at once.

    A write is in the catalog, on disk, when its call returns, and every later search sees it. A search sees all of a
    write or nothing, and waits for no writer.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    @property
    def name(self) -> str:
        return self._contents.name

    @property
    def binarizer(self) -> Binarizer:
        return self._contents.bz

    @property
    def number(self) -> int:
        """The catalog's number of it, never given to another collection."""
        return self._contents.number

    @property
    def closed(self) -> bool:
        """Whether it was dropped, or its database closed."""
        return self._contents.closed

    @property
    def snapshot(self) -> Snapshot:
        """What it holds now: rows and payloads that later writes do not change."""
        return self._contents.snapshot

    def __len__(self) -> int:
        return len(self.snapshot)

    def __repr__(self) -> str:
        return f"Collection({self.name!r}, model={self.binarizer.digest})"

    def upsert(
        self,
        ids: IdsLike,
        x: VectorsLike,
        payloads: Sequence[Payload | None] | None = None,
        *,
        on_duplicate: OnDuplicate = "last",
    ) -> int:
        """Inserts rows, replacing rows of the same id as a whole, payload included; returns how many rows were written.

        `ids` n ints of 0 or greater, strings of 1 to 1024 bytes or UUIDs, mixed as you like; `x` float32[n, input_dim];
        `payloads` one dict (or None) per row, written as JSON. None in a list `x`, or for `x`: rows without a vector,
        which no search by vector finds; all else does. Of an id that comes several times the last row is written;
        `on_duplicate="error"`: ValueError. All rows are written, or none. ValueError on bad input; LimitExceeded when
        the disk is full.
        """
        return _result(self.begin_upsert(*check_rows(ids, x, payloads, self.binarizer.input_dim, on_duplicate)))

    def begin_upsert(self, ids: Named, vectors: Floats, payloads: Sequence[str]) -> Future[int]:
        """`upsert` of what `checks.check_rows` returned. Encodes now; the future is done once the write is on disk.
        Cancelling it takes back a write that has not begun."""
        self._contents.check_open()
        if len(ids) == 0:
            nothing: Future[int] = Future()
            nothing.set_result(0)
            return nothing
        return self._contents.submit_upsert(ids, vectors, payloads)

    def set_payloads(self, ids: IdsLike, payloads: Sequence[Payload | None], *, merge: bool = False) -> int:
        """Replaces the payloads of rows and leaves their codes; returns how many rows there were. `ids` int64[n], each
        once; ids not present are passed over: no row comes to be. `payloads` one dict per row, None: it is to have
        none.

        `merge`: the keys of each dict are set in the payload that is there, whose other keys stay; None changes
        nothing. It is applied to the row as it is when its turn to be written comes, so a write beside it is neither
        undone nor lost. Durable like an upsert. ValueError on bad input.
        """
        return _result(self.begin_set_payloads(*check_new_payloads(ids, payloads), merge))

    def begin_set_payloads(self, ids: Named, texts: Sequence[str], merge: bool) -> Future[int]:
        """`set_payloads` of what `checks.check_new_payloads` returned; the future as of `begin_upsert`."""
        return self._contents.submit_payloads(ids, texts, merge)

    def truncate(self) -> int:
        """Removes all rows; returns how many there were. Takes no longer for many rows than for few, but waits for a
        seal in progress."""
        return self._contents.truncate()

    def delete(self, ids: IdsLike | None = None, *, filter: FilterLike | None = None) -> int:
        """Removes rows and their payloads; returns how many there were. `ids` int64[n]; ids not present are passed
        over. Or `filter`: all rows that match it (`bebr.F`) when the delete has its turn among the writes, and
        no others. ValueError for both or neither."""
        which = check_delete(ids, filter)
        return _result(self.begin_delete_matching(which) if isinstance(which, Filter) else self.begin_delete(which))

    def begin_delete(self, ids: Named) -> Future[int]:
        """`delete` of what `checks.check_ids` returned; the future as of `begin_upsert`."""
        return self._contents.submit(ids.once(), None, ())

    def begin_delete_matching(self, filter: Filter) -> Future[int]:
        """`delete` by a filter; the future as of `begin_upsert`."""
        return self._contents.submit_delete(filter)

    def count(self, filter: FilterLike | None = None) -> int:
        """How many rows match a filter (`bebr.F`); without one, how many there are."""
        return self.snapshot.count(None if filter is None else as_filter(filter))

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
        """The k best rows for each query: Hits(scores float32[n, k], ids int64[n, k]), best first (metric "l2":
        ascending distance); id −1 where there are fewer than k rows. `with_payloads`: also hits.payloads, a list of k
        payloads per query, each that of the write which its row came from.

        `q` float32[n, query_dim]; `query` "float" (asymmetric) or "code" (the query is coded too); `oversampling` and
        `exact` as in `FlatIndex.search`; `allow` int64[m]: only these ids; `filter`: only rows whose payload
        matches it, as `bebr.F` or a dict says; with both, what both let through; never fewer than k, where so many
        match; `radius`: only rows at least this similar (l2: at most this squared distance); `offset`: the first so
        many hits of each query are left out; `binarizer`: the queries' model where it is a newer one than the rows', as
        in `FlatIndex.search`. ValueError on bad input; IncompatibleModel.

        `rescore`, where vectors are kept: how many of the best by code get exact scores, at least k; 0: scores by code.
        None: 3 k + 20, and every row of a collection of up to 2,000, whose answers are exact then.

        `group_by`, a field of the payloads ("meta.lang" for one inside another): hits come in k groups of up to
        `group_size` rows that have one value there, groups by their best row (`CollectionHits.groups`); never fewer
        groups than there are, up to k. A row whose field is a list is in the group of each element; one without a
        value, or with an object for one, in none. `offset` counts groups then.

        `text`, in a collection made with `text=` fields, a string or one per query: rows that have some of its words,
        by BM25 (`bebr.store.ranking`), best first, in place of vectors where `q` is None; ids of −1 where fewer
        rows have any. Beside vectors the two rankings, as far as 100 or offset + k, are fused ("rrf": scores are sums
        of 1 / (60 + rank)). `filter` and `allow` hold for both; `radius` and `group_by` do not go with it.
        """
        snapshot, depth = self.snapshot, check_window(k, radius, offset)
        groups = check_groups(group_by, group_size)
        texts, vectors = check_texts(text, fusion), None
        if q is not None:
            vectors = check_query(q, k, query, oversampling, exact, (binarizer or self.binarizer).query_dim)
        allowed = None if allow is None else check_ids(allow, "allow")
        options = SearchOptions(
            *(depth, query, oversampling, exact, radius, check_rescore(rescore, depth), binarizer),
            filter=None if filter is None else as_filter(filter),
        )
        check_beside_text(texts, vectors, radius, groups)
        if texts is not None:
            hits = self.search_text(snapshot, vectors, texts, options, allowed)
            return _window(snapshot, hits, offset, with_payloads)
        assert vectors is not None
        if groups is not None:
            found, values = self.search_groups(snapshot, vectors, groups, options, allowed)
            values = [row[offset:] for row in values]
            return _window(snapshot, found, offset * groups.size, with_payloads, values)
        hits = self.search_snapshot(snapshot, vectors, options, allowed)
        return _window(snapshot, hits, offset, with_payloads)

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
        """The k rows most like each row of `ids` int64[n], itself left out; else as `search`. The query is the row's
        kept vector, or what its code stands for. KeyError names an id that is not there."""
        snapshot, depth = self.snapshot, check_window(k, radius, offset)
        check_oversampling(oversampling, exact)
        allowed = None if allow is None else check_ids(allow, "allow")
        options = SearchOptions(
            *(depth, "float", oversampling, exact, radius, check_rescore(rescore, depth)),
            filter=None if filter is None else as_filter(filter),
        )
        hits = self.search_snapshot(snapshot, check_query_ids(check_ids(ids)), options, allowed)
        return _window(snapshot, hits, offset, with_payloads)

    def search_snapshot(
        self,
        snapshot: Snapshot,
        queries: Floats | Named,
        options: SearchOptions,
        allow: Named | None = None,
        stop: StopFlag | None = None,
    ) -> Hits:
        """`search` of a snapshot with what `checks.check_query` returned, or `search_ids` with what
        `checks.check_query_ids` did; ids of the hits are the numbers of rows. `stop`: once it is set, the search ends
        soon with an error."""
        allowed = None if allow is None else resolve(snapshot, allow)
        if isinstance(queries, Named):
            numbers = resolve(snapshot, queries)
            missing = np.isin(numbers, snapshot.missing(numbers))
            if missing.any():
                raise KeyError(f"no row with id {queries.ids()[int(missing.argmax())]!r} in collection {self.name!r}")
            distinct, places = np.unique(numbers, return_inverse=True)
            bare = snapshot.bare(distinct)[places]
            if bare.any():
                raise ValueError(f"the row with id {queries.ids()[int(bare.argmax())]!r} has no vector to search with")
            return search_rows(snapshot, self.binarizer, numbers, options, allowed, stop)
        return search_vectors(snapshot, self.binarizer, queries, options, allowed, stop)

    def search_text(
        self,
        snapshot: Snapshot,
        vectors: Floats | None,
        texts: Sequence[str],
        options: SearchOptions,
        allow: Named | None = None,
        stop: StopFlag | None = None,
    ) -> Hits:
        """`search` of a snapshot by words, and by as many vectors where there are some. ValueError where no fields are
        declared."""
        if not self._contents.text:
            raise ValueError(f"collection {self.name!r} has no text: create it with text= and its fields")
        allowed = None if allow is None else resolve(snapshot, allow)
        if vectors is None:
            return search_text(snapshot, texts, options.k, options.filter, allowed)
        depth = max(options.k, FUSED)
        deeper = replace(options, k=depth, rescore=options.rescore and max(options.rescore, depth))
        by_vector = self.search_snapshot(snapshot, vectors, deeper, allow, stop)
        by_text = search_text(snapshot, texts, depth, options.filter, allowed)
        return fused([by_vector, by_text], options.k)

    def search_groups(
        self,
        snapshot: Snapshot,
        vectors: Floats,
        groups: Groups,
        options: SearchOptions,
        allow: Named | None = None,
        stop: StopFlag | None = None,
    ) -> tuple[Hits, list[list[GroupValue | None]]]:
        """`search_snapshot` by groups: hits [n, k * size], and the values of the k groups of each query."""

        def find(query: int, deeper: SearchOptions) -> Hits:
            return self.search_snapshot(snapshot, vectors[query : query + 1], deeper, allow, stop)

        ascending = self.binarizer.metric == "l2"
        return search_groups(snapshot, find, len(vectors), options.k, groups, options, ascending)

    def candidates(self, k: int) -> int:
        """The most rows that a search for `k` looks at a query to find them, by code."""
        return k if self._contents.keeping is None else max(default_candidates(k), EXACT_ROWS)

    def get(self, ids: IdsLike, *, payloads: bool = True, vectors: bool = False) -> list[Row | None]:
        """The row of each of `ids` int64[n], None for an id that is not there.

        `vectors`: each row's vector, for cosine of unit length: as it is kept, float32[input_dim]; in a collection that
        keeps none, as its code gives it back (`Binarizer.reconstructed`), float32[inner_dim], which is the space behind
        the model's input adapter where it has one; None where a row has none.
        """
        snapshot = self.snapshot
        wanted = resolve(snapshot, check_ids(ids))
        there = snapshot.present(wanted)
        rows = dict(zip(there.tolist(), read_rows(snapshot, self.binarizer, there, payloads, vectors), strict=True))
        return [rows.get(number) for number in wanted.tolist()]

    def scroll(
        self,
        *,
        limit: int = 1000,
        after: Id | None = None,
        filter: FilterLike | None = None,
        payloads: bool = True,
        vectors: bool = False,
    ) -> list[Row]:
        """The next `limit` rows in ascending order of ids, above the id `after` (None: from the start); fewer at the
        end, and then none. `filter`: only those that match. Rows as in `get`.

        Going on from each page's last id shows every row that is there throughout exactly once, whatever is written
        meanwhile; a page's cost does not grow with the collection.
        """
        snapshot = self.snapshot
        last = check_page(limit, after)
        ids = ids_after(snapshot, last, limit, None if filter is None else as_filter(filter))
        return read_rows(snapshot, self.binarizer, ids, payloads, vectors)

    def stats(self) -> CollectionStats:
        """Rows, segments, bytes on disk; see `CollectionStats`."""
        snapshot = self.snapshot
        files = [(row, view.live) for view in snapshot.segments if (row := view.part.row) is not None]
        sealed = sum(live for _, live in files)
        return CollectionStats(
            rows=len(snapshot),
            segments=len(files),
            tail_rows=len(snapshot) - sealed,
            dead_rows=sum(row.rows for row, _ in files) - sealed,
            bytes_on_disk=sum(row.bytes for row, _ in files) + self._contents.journal_bytes(),
            model=ModelInfo.of(self.binarizer),
            target=self._contents.target.digest if self._contents.migrating else "",
            rows_behind=self._contents.rows_behind(),
            kept_bytes=0 if self._contents.keeping is None else self._contents.keeping.row_bytes,
        )

    def flush(self) -> None:
        """Seals the rows since the last seal into a segment file, merging small and half-dead segments on the way. Not
        needed for durability: it makes the next open faster and returns the space of dead rows."""
        self._contents.check_open()
        self._contents.compact()

    def migrate(self, bz: Binarizer, *, wait: bool = False) -> None:
        """Has every row coded by another model of the same vectors, from those that are kept.

        What is written from now on is coded by it; what is there is re-encoded in the background, a segment at a time,
        and after a crash from where it stopped. Searches cover both meanwhile; then it is the collection's model
        (`binarizer`, `stats().target`). `wait`: until then. A second call changes the direction. ValueError where no
        vectors are kept, or for a model of another metric or dimension.
        """
        self._contents.migrate(check_model(bz))
        if wait:
            self._contents.finish_migration()

    def retrain(self, bytes_per_vector: int | None = None, *, wait: bool = False) -> None:
        """Trains a model on a sample of the kept vectors, of at most 65,536, and migrates to it.

        `bytes_per_vector`: of the new codes; by default as many as now. Without `wait` it returns once the model is
        trained. ValueError where no vectors are kept, or there are no rows.
        """
        self._contents.retrain(bytes_per_vector)
        if wait:
            self._contents.finish_migration()

    @property
    def training_bytes(self) -> int:
        """What `retrain` takes in memory, about: the sample, and its products in the making."""
        return 4 * 4 * self.binarizer.input_dim * min(len(self.snapshot), MOST_ROWS)

    def measure_recall(
        self, sample: ArrayLike | int = 1000, k: int = 10, *, rescore: int | None = None
    ) -> RecallEstimate:
        """The share of the `k` best rows that searches find, against exact scores of all kept vectors, with an interval
        that holds the true share in 95 of 100 measurements.

        `sample`: queries float32[n, d], or how many rows are drawn as queries, which are then not counted as their own
        results; at most 10,000. `rescore`: as in `search`. Time grows with rows times queries. ValueError where no
        vectors are kept, or the model scores in a space of its own.
        """
        return measured_recall(self.snapshot, self.binarizer, sample, k, rescore)

    def close(self, reason: Exception) -> None:
        """Waits for writes in progress, then refuses every further call with an error like `reason`."""
        self._contents.close(reason)


def _result(future: Future[int]) -> int:
    try:
        return future.result()
    except BaseException:
        future.cancel()  # Ctrl-C: a write that has not begun is not to happen
        raise


def _window(
    snapshot: Snapshot,
    hits: Hits,
    offset: int,
    with_payloads: bool,
    groups: list[list[GroupValue | None]] | None = None,
) -> CollectionHits:
    """Hits without the first `offset` of each query, under the ids of their rows, with the payloads that the snapshot
    has for them."""
    scores, numbers = hits.scores[:, offset:], hits.ids[:, offset:]
    payloads = None
    if with_payloads:
        texts = iter(snapshot.payload_texts(numbers.ravel()))
        payloads = [[load_payload(next(texts)) for _ in row] for row in numbers]
    return CollectionHits(scores, named_array(numbers, keys_of(snapshot, numbers.ravel())), payloads, groups)
