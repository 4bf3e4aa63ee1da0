"""The searches of a collection on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.checks import load_payload
from bebr.collection.filter_form import FilterLike
from bebr.collection.handle import Handle
from bebr.collection.keys import IdsLike, Named, named_array
from bebr.collection.options import Groups, SearchOptions
from bebr.collection.protocol import CollectionHits, Fusion, GroupValue
from bebr.collection.request import SearchRequest, check_search, check_search_ids, query_dim
from bebr.errors import LimitExceeded
from bebr.index import Hits
from bebr.index.segments import StopFlag
from bebr.store.contents import Contents
from bebr.store.search.bridging import search_both
from bebr.store.search.grouping import search_groups
from bebr.store.search.ranking import FUSED, fused, search_text
from bebr.store.search.searching import by_default, check_rescored, search_in_groups, search_rows, search_vectors
from bebr.store.snapshots.keys import keys_of, resolve
from bebr.store.snapshots.snapshot import Snapshot

# Hits of one call that may be of no row: 600 MB.
_MOST_PADDED = 50_000_000


class Searchable(Handle):
    """Contents that are searched: each search holds one snapshot and waits for no writer."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    @property
    def name(self) -> str:
        return self._contents.name

    @property
    def binarizer(self) -> Binarizer:
        return self._contents.state.bz

    @property
    def closed(self) -> bool:
        """Whether it was dropped, or its database closed."""
        return self._contents.closed

    def watch(self, seen: Callable[[], None]) -> None:
        """Has `seen` called now and after every write, before that returns (`Current.watch`)."""
        self._contents.current.watch(seen)

    @property
    def snapshot(self) -> Snapshot:
        """What it holds now: rows and payloads that later writes do not change."""
        return self._contents.snapshot

    def search(
        self,
        q: ArrayLike | None,
        k: int = 10,
        *,
        query: Query = "float",
        oversampling: int | None = None,
        exact: bool = False,
        nprobe: int | None = None,
        ef_search: int | None = None,
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
        allow_partial: bool = False,
    ) -> CollectionHits:
        """The k best rows for each query: Hits(scores float32[n, k], ids int64[n, k]), best first (l2: ascending
        distance); id −1 where there are fewer than k rows.

        >>> hits = docs.search(q, k=5, filter={"lang": "de"}, with_payloads=True)

        q: float32[n, query_dim]; None with `text` alone.
        with_payloads: also hits.payloads, a list of k payloads per query, from the same write as the row found.
        filter: only rows whose payload matches (`bebr.F` or a dict). There are k hits if k rows match.
        allow: only these ids. With `filter` as well, a row must pass both.
        offset: leave out the first hits of each query.
        radius: only rows at least this similar (l2: at most this squared distance).
        text: a string, or one per query: rows that contain some of its words, ranked by BM25
            (`bebr.store.search.ranking`), in a collection created with `text=` fields; id −1 where fewer rows contain
            any. With `q` as well, both rankings are fused, each as far as 100 or offset + k ("rrf": scores are sums of
            1 / (60 + rank)). Not together with `radius` or `group_by`.
        group_by, group_size: k groups of up to `group_size` rows that have the same value in this payload field
            ("meta.lang" for a nested one), ordered by their best row (`CollectionHits.groups`). A row whose field is a
            list belongs to the group of each element; one without a value, or with an object, to none. There are k
            groups if so many exist, and `offset` counts groups.
        rescore: with kept vectors: how many of the best by code get exact scores, at least k; 0: scores by code. None:
            as many as reach the collection's `target_recall`, measured for its files and, a little later, for rows in
            memory: at least 3 k + 20, at most 4,096. All rows get exact scores up to 2,000 rows, and up to 10,000 whose
            vectors take no more than 1.5 MiB, so answers are exact then.
        nprobe, ef_search: lists per file with lists, and candidates per file with a graph, instead of those measured
            for `target_recall`. Flat files use neither.
        exact, oversampling: as in `FlatIndex.search`; `exact` also looks at all lists and nodes.
        query: "float" (asymmetric) or "code" (the query is encoded too).
        binarizer: the queries' model, if it is a newer one than the rows', as in `FlatIndex.search`, or that of a
            migration by streamed vectors.
        allow_partial: for a sharded collection behind a root (docs/cluster.md): if some shards do not answer, return
            the results of the others; `hits.missing` lists the missing shards.
        ValueError on bad input; IncompatibleModel; LimitExceeded for an answer with more than 50 million places that no
        row fills.
        """
        snapshot = self.snapshot
        request = check_search(
            q,
            k,
            query_dim(binarizer, snapshot.bz),
            query,
            oversampling,
            exact,
            nprobe,
            ef_search,
            allow,
            filter,
            radius,
            offset,
            group_by,
            group_size,
            with_payloads,
            rescore,
            binarizer,
            text,
            fusion,
        )
        return self._answered(snapshot, request)

    def search_ids(
        self,
        ids: IdsLike,
        k: int = 10,
        *,
        oversampling: int | None = None,
        exact: bool = False,
        nprobe: int | None = None,
        ef_search: int | None = None,
        allow: IdsLike | None = None,
        filter: FilterLike | None = None,
        radius: float | None = None,
        offset: int = 0,
        group_by: str | None = None,
        group_size: int = 1,
        with_payloads: bool = False,
        rescore: int | None = None,
    ) -> CollectionHits:
        """The k rows most similar to each row of `ids`, without that row itself; otherwise as `search`. The query is
        the row's kept vector, or its decoded code. KeyError names an id that does not exist."""
        request = check_search_ids(
            ids,
            k,
            oversampling,
            exact,
            nprobe,
            ef_search,
            allow,
            filter,
            radius,
            offset,
            group_by,
            group_size,
            with_payloads,
            rescore,
        )
        return self._answered(self.snapshot, request)

    def _answered(self, snapshot: Snapshot, request: SearchRequest) -> CollectionHits:
        if len(request) * request.width > _MOST_PADDED:
            _check_padding(len(snapshot), request)
        values = None
        if request.texts is not None:
            assert not isinstance(request.queries, Named)
            hits = self.search_text(snapshot, request.queries, request.texts, request.options, request.allow)
        elif request.groups is not None:
            assert request.queries is not None
            how = request.groups, request.options, request.allow
            hits, values = self.search_groups(snapshot, request.queries, *how)
            values = [row[request.offset :] for row in values]
        else:
            assert request.queries is not None
            hits = self.search_snapshot(snapshot, request.queries, request.options, request.allow)
        offset = request.offset * (request.groups.size if request.groups else 1)
        return _window(snapshot, hits, offset, request.with_payloads, values)

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
            return search_rows(snapshot, snapshot.bz, self._rows(snapshot, queries), options, allowed, stop)
        new = snapshot.successor
        if options.model is not None and new is not None and options.model.digest == new.rows.bz.digest:
            return search_both(snapshot, new, queries, options, allowed, stop)
        return search_vectors(snapshot, snapshot.bz, queries, options, allowed, stop)

    def _check_rescored(self, snapshot: Snapshot, options: SearchOptions) -> None:
        """Before a search asks for more than the caller did: an error names the caller's `rescore`. ValueError."""
        models = [snapshot.bz.digest] + ([] if snapshot.successor is None else [snapshot.successor.rows.bz.digest])
        check_rescored(snapshot, options.rescore, options.model is not None and options.model.digest not in models)

    def _rows(self, snapshot: Snapshot, ids: Named) -> Ids:
        """The numbers of rows to search with. KeyError, ValueError."""
        numbers = resolve(snapshot, ids)
        missing = np.isin(numbers, snapshot.missing(numbers))
        if missing.any():
            raise KeyError(f"no row with id {ids.ids()[int(missing.argmax())]!r} in collection {self.name!r}")
        distinct, places = np.unique(numbers, return_inverse=True)
        bare = snapshot.bare(distinct)[places]
        if bare.any():
            raise ValueError(f"the row with id {ids.ids()[int(bare.argmax())]!r} has no vector to search with")
        return numbers

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
        if not self._contents.state.text:
            raise ValueError(f"collection {self.name!r} has no text: create it with text= and its fields")
        allowed = None if allow is None else resolve(snapshot, allow)
        if vectors is None:
            return search_text(snapshot, texts, options.k, options.filter, allowed)
        self._check_rescored(snapshot, options)
        depth = max(options.k, FUSED)
        deeper = replace(options, k=depth, rescore=options.rescore and max(options.rescore, depth))
        by_vector = self.search_snapshot(snapshot, vectors, deeper, allow, stop)
        by_text = search_text(snapshot, texts, depth, options.filter, allowed)
        return fused([by_vector, by_text], options.k)

    def search_groups(
        self,
        snapshot: Snapshot,
        queries: Floats | Named,
        groups: Groups,
        options: SearchOptions,
        allow: Named | None = None,
        stop: StopFlag | None = None,
    ) -> tuple[Hits, list[list[GroupValue | None]]]:
        """`search_snapshot` by groups: hits [n, k * size], and the values of the k groups of each query."""
        allowed = None if allow is None else resolve(snapshot, allow)
        what = self._rows(snapshot, queries) if isinstance(queries, Named) else queries
        self._check_rescored(snapshot, options)
        found = search_in_groups(snapshot, snapshot.bz, what, groups, options, allowed, stop)
        if found is not None:
            return found

        def find(query: int, deeper: SearchOptions) -> Hits:
            return self.search_snapshot(snapshot, queries[query : query + 1], deeper, allow, stop)

        ascending = snapshot.bz.metric == "l2"
        return search_groups(snapshot, find, len(queries), options.k, groups, options, ascending)

    def candidates(self, k: int) -> int:
        """The most rows that a search for `k` looks at a query to find them, by code."""
        return k if self._contents.state.keeping is None else by_default(self.snapshot, k)


def _check_padding(rows: int, request: SearchRequest) -> None:
    """LimitExceeded where most of a large answer would be of no row: it would be allocated all the same."""
    padded = len(request) * (request.width - rows)
    if padded > _MOST_PADDED:
        raise LimitExceeded(
            f"{len(request)} queries for {request.width} hits each, of a collection of {rows} rows: {padded} of the "
            f"hits would be of no row; ask for as many as there are rows, or for up to {_MOST_PADDED} hits in a call"
        )


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
