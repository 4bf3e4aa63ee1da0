"""A search of a snapshot: by code in every part, whatever its model; then exact scores from kept vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.collection.filter_tree import Filter
from bebr.index import Hits
from bebr.index.raw import check_rescore, default_candidates
from bebr.index.segments import search_segments
from bebr.store.kept import Keeping
from bebr.store.snapshot import Snapshot

# A collection of so few rows answers from kept vectors alone: every row gets its exact score.
EXACT_ROWS = 2000

# Candidates of all queries at a time, and bytes of kept vectors.
_PIECE = 4_000_000
_PIECE_BYTES = 16 << 20


def candidates(snapshot: Snapshot, k: int, rescore: int | None, foreign: bool) -> int:
    """How many rows a query has to find by code; 0: k, and their scores by code are the answer's. `rescore`: as of
    `Collection.search`; `foreign`: the queries are of another model. ValueError for a rescore that cannot be."""
    wanted = check_rescore(rescore, k)
    kept = snapshot.tail.part.keeping is not None
    if wanted and not kept:
        raise ValueError(
            f"rescore is {rescore}, but this collection keeps no vectors: create it with keep='float16' or 'int8'"
        )
    if wanted and foreign:
        raise ValueError(
            f"rescore is {rescore}, but these queries are another model's, so they have no exact score with the "
            "vectors kept here: search with rescore=0, by code alone"
        )
    if not kept or foreign or wanted == 0:
        return 0
    if wanted is None:
        return max(k, len(snapshot)) if len(snapshot) <= EXACT_ROWS else default_candidates(k)
    return wanted


def search_snapshot(
    snapshot: Snapshot,
    bz: Binarizer,
    vectors: Floats,
    k: int,
    *,
    query: Query = "float",
    oversampling: int | None = None,
    exact: bool = False,
    allow: Ids | None = None,
    filter: Filter | None = None,
    rescore: int | None = None,
    binarizer: Binarizer | None = None,
    stop: Any = None,
) -> Hits:
    """The k best live rows for each of checked `vectors` float32[n, query_dim]. `bz`: the collection's model; the rest
    as of `Collection.search`. `stop`: once it is set, the search ends soon with an error."""
    foreign = binarizer if binarizer is not None and binarizer.digest != bz.digest else None
    wanted = candidates(snapshot, k, rescore, foreign is not None)
    depth = wanted or k
    if oversampling is not None:
        oversampling = max(1, -(-oversampling * k // depth))

    def search(vectors: Floats) -> Hits:
        queries, found = None, []
        for model, views in snapshot.by_model(filter).values() or [(bz, [])]:
            prepared = (foreign or model).prepare_for(model, vectors, query)
            if model.digest == bz.digest:
                queries = prepared.exact
            found.append(
                search_segments(
                    *(views, model, prepared, depth), oversampling=oversampling, exact=exact, allow=allow, stop=stop
                )
            )
        hits = best_of(found, depth, bz.metric == "l2")
        if not wanted:
            return hits
        queries = bz.prepare(vectors).exact if queries is None else queries
        assert queries is not None
        return rescored(snapshot, snapshot.keeping, bz, queries, hits.ids, k)

    step = max(1, _PIECE // depth) if wanted else len(vectors)
    return joined([search(vectors[begin : begin + step]) for begin in range(0, len(vectors), step)])


def rescored(snapshot: Snapshot, keeping: Keeping, bz: Binarizer, queries: Floats, ids: Ids, k: int) -> Hits:
    """The k best of the candidates `ids` int64[n, c] (−1: none) by exact scores. `queries`: float32[n, inner_dim], in
    the space of `bz.vectors`."""
    width = max(1, _PIECE_BYTES // keeping.row_bytes)  # candidates at a time
    each = min(ids.shape[1], width)
    step = max(1, width // each)
    found = []
    for begin in range(0, len(ids), step):
        rows = slice(begin, begin + step)
        pieces = [ids[rows, column : column + each] for column in range(0, ids.shape[1], each)]
        scored = [_scored(snapshot, keeping, bz, queries[rows], piece, k) for piece in pieces]
        found.append(best_of(scored, k, bz.metric == "l2"))
    return joined(found)


def _scored(snapshot: Snapshot, keeping: Keeping, bz: Binarizer, queries: Floats, ids: Ids, k: int) -> Hits:
    distinct, places = np.unique(ids, return_inverse=True)
    rows, there = snapshot.kept(distinct)
    kind = keeping.kind
    if bz.has_adapter:
        rows, kind = core.store_raw(bz.vectors(keeping.vectors(rows)), "float16"), "float16"
    which = np.where(there[places], places, -1).reshape(ids.shape)
    return Hits(*core.raw_best(rows, kind, distinct, np.ascontiguousarray(queries), which, k, bz.metric == "l2"))


def joined(found: Sequence[Hits]) -> Hits:
    """The answers to some queries, then those to the next."""
    return found[0] if len(found) == 1 else Hits(*(np.concatenate(column) for column in zip(*found, strict=True)))


def best_of(found: Sequence[Hits], k: int, ascending: bool) -> Hits:
    """The k best of several answers to the same queries, whose ids differ; equal scores by the smaller id."""
    if len(found) == 1:
        return found[0]
    scores, ids = (np.concatenate(column, axis=1) for column in zip(*found, strict=True))
    order = np.lexsort((ids, ids < 0, scores if ascending else -scores), axis=-1)[:, :k]
    return Hits(np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1))
