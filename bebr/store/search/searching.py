"""A search of a snapshot: by code in every part, whatever its model; then exact scores from kept vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import PreparedQueries
from bebr.collection.filter_form import MOST_KEPT_TEXT
from bebr.collection.filter_tree import Filter
from bebr.collection.options import Groups, SearchOptions
from bebr.collection.protocol import GroupValue
from bebr.index import Hits
from bebr.index.raw import check_rescore
from bebr.index.segments import StopFlag, search_segments
from bebr.store.files.kept import Keeping
from bebr.store.snapshots.allowed import FEW, allowed
from bebr.store.snapshots.reads import read_vectors
from bebr.store.snapshots.snapshot import Snapshot

# Candidates of all queries at a time, and bytes of kept vectors.
_PIECE = 4_000_000
_PIECE_BYTES = 16 << 20


def candidates(snapshot: Snapshot, k: int, rescore: int | None, foreign: bool) -> int:
    """How many rows a query has to find by code; 0: k, and their scores by code are the answer's. `rescore`: as of
    `Collection.search`; `foreign`: the queries are of another model. ValueError for a rescore that cannot be."""
    wanted = check_rescore(rescore, k)
    check_rescored(snapshot, wanted, foreign)
    if snapshot.tail.part.keeping is None or foreign or wanted == 0:
        return 0
    return by_default(snapshot, k) if wanted is None else wanted


def by_default(snapshot: Snapshot, k: int) -> int:
    """The same where a search does not say and vectors are kept: all rows, where these are few."""
    return max(k, len(snapshot)) if snapshot.all_scored else snapshot.candidates.at(k)


def check_rescored(snapshot: Snapshot, rescore: int | None, foreign: bool) -> None:
    """ValueError where vectors are wanted that are not kept, or that queries of another model have no scores with."""
    if rescore and snapshot.tail.part.keeping is None:
        raise ValueError(
            f"rescore is {rescore}, but this collection keeps no vectors: create it with keep='float16' or 'int8'"
        )
    if rescore and foreign:
        raise ValueError(
            f"rescore is {rescore}, but these queries are another model's, so they have no exact score with the "
            "vectors kept here: search with rescore=0, by code alone"
        )


def search_vectors(
    snapshot: Snapshot,
    bz: Binarizer,
    vectors: Floats,
    options: SearchOptions,
    allow: Ids | None = None,
    stop: StopFlag | None = None,
) -> Hits:
    """The best live rows for each of checked `vectors` float32[n, query_dim]. `bz`: the collection's model; `allow`
    int64[m]: only these ids. `stop`: once it is set, the search ends soon with an error. IncompatibleModel."""
    foreign = options.model if options.model is not None and options.model.digest != bz.digest else None
    rows = None if foreign is not None else _engine(snapshot, bz, options.filter, len(vectors))
    if rows is not None:
        candidates(snapshot, options.k, options.rescore, False)  # its errors
        check_decoder(bz, options)
        return Hits(*rows.search(vectors, asked(options, allow, stop)))

    def prepared(model: Binarizer, some: Floats) -> PreparedQueries:
        return (foreign or model).prepare_for(model, some, options.query)

    return _search(snapshot, bz, vectors, prepared, options, allow, stop, foreign is not None)


def check_decoder(bz: Binarizer, options: SearchOptions) -> None:
    """ValueError where vectors have no scores with codes."""
    if not (options.query == "code" or bz.has_decoder):
        raise ValueError("this binarizer has no decoder, so query='float' has no meaning: use query='code'")


def search_rows(
    snapshot: Snapshot,
    bz: Binarizer,
    ids: Ids,
    options: SearchOptions,
    allow: Ids | None = None,
    stop: StopFlag | None = None,
) -> Hits:
    """The rows most like each of the rows `ids` int64[n], which are there and have vectors; itself left out."""
    candidates(snapshot, options.k, options.rescore, False)  # its errors
    rows = _engine(snapshot, bz, options.filter, len(ids))
    if rows is not None:
        return Hits(*rows.search_rows(ids, asked(options, allow, stop)))
    distinct, places = np.unique(ids, return_inverse=True)

    def prepared(model: Binarizer, some: Floats) -> PreparedQueries:
        return model.prepare_vectors(model.vectors(some) if snapshot.keeps else some)

    vectors = read_vectors(snapshot, bz, distinct)[places]
    deeper = replace(options, k=options.k + 1, rescore=options.rescore and options.rescore + 1)
    hits = _search(snapshot, bz, vectors, prepared, deeper, allow, stop, foreign=False)
    # Itself is among the results, or was not allowed, or a twin with a smaller id was last in its place.
    others = hits.ids != ids[:, None]
    others[others.all(axis=1), -1] = False
    shape = (len(ids), options.k)
    return Hits(hits.scores[others].reshape(shape), hits.ids[others].reshape(shape))


def search_in_groups(
    snapshot: Snapshot,
    bz: Binarizer,
    queries: Floats | Ids,
    groups: Groups,
    options: SearchOptions,
    allow: Ids | None,
    stop: StopFlag | None,
) -> tuple[Hits, list[list[GroupValue | None]]] | None:
    """`bebr.store.search.grouping.search_groups` in C++, of vectors, or of rows by their ids int64[n], which are there
    and have vectors. None where columns of payloads do not tell the groups."""
    if options.model is not None and options.model.digest != bz.digest:
        return None
    rows = snapshot.grouped(options.filter, groups.by)
    if rows is None or snapshot.by_model[0][0].digest != bz.digest:
        return None
    candidates(snapshot, 1, options.rescore, False)  # its errors
    if queries.dtype == np.float32:
        check_decoder(bz, options)
    scores, ids, texts = rows.search_groups(queries, asked(options, allow, stop), groups.size)
    values: list[GroupValue | None] = [json.loads(text) if text else None for text in texts]
    return Hits(scores, ids), [values[i : i + options.k] for i in range(0, len(values), options.k)]


def _engine(snapshot: Snapshot, bz: Binarizer, filter: Filter | None, queries: int) -> core.CodeSearcher | None:
    """What answers so many queries of the rows' own model in C++. None: that is for the parts, one by one."""
    rows: core.CodeSearcher | None = snapshot.engine
    if filter is not None:
        rows = snapshot.filtered(filter, queries <= FEW)
    return rows if rows is not None and snapshot.by_model[0][0].digest == bz.digest else None


def asked(options: SearchOptions, allow: Ids | None = None, stop: StopFlag | None = None) -> core.CollectionSearch:
    """What `Snapshot.engine` takes; its filter and model left out."""
    if allow is not None or stop is not None:
        return _made(options, allow, stop)
    known = _asked.get(id(options))
    if known is not None and known[0] is options:
        return known[1]
    made = _made(options, allow, stop)
    if options.model is None and (options.filter is None or len(options.filter.text) <= MOST_KEPT_TEXT):
        if len(_asked) >= _MOST_ASKED:
            _asked.clear()
        _asked[id(options)] = options, made
    return made


# By the identity of options, which stand beside it: checked ones that come again are the same object, and to hash one
# would cost half of what is saved.
_asked: dict[int, tuple[SearchOptions, core.CollectionSearch]] = {}
_MOST_ASKED = 256


def _made(options: SearchOptions, allow: Ids | None, stop: StopFlag | None) -> core.CollectionSearch:
    return core.CollectionSearch(
        options.k,
        coded=options.query == "code",
        oversampling=options.oversampling,
        exact=options.exact,
        radius=options.radius,
        rescore=options.rescore,
        nprobe=options.nprobe,
        ef_search=options.ef_search,
        stop=stop,
        allow=allow,
    )


def _search(
    snapshot: Snapshot,
    bz: Binarizer,
    vectors: Floats,
    prepared: Callable[[Binarizer, Floats], PreparedQueries],
    options: SearchOptions,
    allow: Ids | None,
    stop: StopFlag | None,
    foreign: bool,
) -> Hits:
    """`prepared(model, queries)`: some of the queries `vectors`, ready to score codes of a model."""
    k, oversampling, radius = options.k, options.oversampling, options.radius
    wanted = candidates(snapshot, k, options.rescore, foreign)
    depth = wanted or k
    if oversampling is not None:
        oversampling = max(1, -(-oversampling * k // depth))

    def search(some: Floats) -> Hits:
        queries, found = None, []
        for model, parts in snapshot.by_model or [(bz, ())]:
            # Of copies, ids that are allowed would have to be found anew.
            found_in = allowed(parts, options.filter, len(some) if allow is None else 0, snapshot.plans)
            ready = prepared(model, some)
            if model.digest == bz.digest:
                queries = ready.exact
            found.append(
                search_segments(
                    *(found_in.views, model, ready, depth),
                    oversampling=oversampling,
                    exact=options.exact,
                    nprobe=options.nprobe,
                    ef_search=options.ef_search,
                    radius=None if wanted else radius,  # exact scores are not those that the codes go by
                    allow=allow,
                    rows=found_in.rows,
                    candidates=found_in.candidates,
                    stop=stop,
                )
            )
        if not wanted:
            return best_of(found, depth, bz.metric == "l2")
        # Candidates of every model: the scores of smaller codes err more, so they would fill the first places.
        ids = np.concatenate([hits.ids for hits in found], axis=1)
        queries = prepared(bz, some).exact if queries is None else queries
        assert queries is not None
        return _within(radius, rescored(snapshot, snapshot.keeping, bz, queries, ids, k), bz.metric == "l2")

    step = max(1, _PIECE // depth) if wanted else len(vectors)
    return joined([search(vectors[begin : begin + step]) for begin in range(0, len(vectors), step)])


def _within(radius: float | None, hits: Hits, ascending: bool) -> Hits:
    """Without what lies beyond the radius."""
    if radius is None:
        return hits
    beyond = hits.scores > radius if ascending else hits.scores < radius
    worst = np.float32(np.inf if ascending else -np.inf)
    return Hits(np.where(beyond, worst, hits.scores), np.where(beyond, -1, hits.ids))


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
    which = np.where(there[places], places, -1).reshape(ids.shape)
    return keeping.best(bz, rows, distinct, queries, which, k)


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
