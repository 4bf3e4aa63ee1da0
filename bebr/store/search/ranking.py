"""BM25 over the live rows of a snapshot, and rankings made one by reciprocal ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.collection.filter_tree import Filter
from bebr.index import Hits
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap
from bebr.store.snapshots.part import PartView
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.text.words import words

K1, B = 1.2, 0.75
"""BM25's usual constants: how soon more of a word count for less, and how much a row's length does."""

RRF = 60
"""Of a reciprocal rank, 1 / (RRF + rank from 1): Cormack, Clarke, Büttcher, SIGIR 2009."""

FUSED = 100
"""How far rankings are looked at to be fused, at least."""

Scored = tuple[Ids, NDArray[np.float64]]


def search_text(
    snapshot: Snapshot, queries: Sequence[str], k: int, filter: Filter | None = None, allow: Ids | None = None
) -> Hits:
    """The k live rows with the best BM25 for each query, of those that have one of its words; equal scores by the
    smaller id. `filter`, `allow` int64[m] choose rows, and leave scores as they are.

    Each distinct word w of the query adds ``idf · c · (K1 + 1) / (c + K1 · (1 − B + B · length / mean))``, where c is
    how often the row has it, ``idf = ln(1 + (n − m + .5) / (m + .5))``, n the live rows that have words, m those that
    have w, and mean their mean length: sums over all parts, so scores do not depend on how rows are divided.
    """
    views = [view for view in snapshot.parts if view.live]
    chosen = [_chosen(view, filter, allow) for view in views]
    totals = [view.text_totals for view in views]
    rows, length = sum(total[0] for total in totals), sum(total[1] for total in totals)
    return _padded([_best(_scored(views, chosen, text, rows, length), k) for text in queries], k)


def fused(rankings: Sequence[Hits], k: int) -> Hits:
    """The k best of each query by the sum of reciprocal ranks; equal ones by the smaller id."""
    found = []
    for query in range(len(rankings[0].ids)):
        ranks = [ranking.ids[query][ranking.ids[query] >= 0] for ranking in rankings]
        ids, places = np.unique(np.concatenate(ranks), return_inverse=True)
        scores = np.zeros(len(ids))
        np.add.at(scores, places, np.concatenate([1 / (RRF + np.arange(1, len(rank) + 1)) for rank in ranks]))
        found.append(_best((ids, scores), k))
    return _padded(found, k)


def _chosen(view: PartView, filter: Filter | None, allow: Ids | None) -> Bitmap | None:
    """The live rows that may be found, None for all."""
    chosen = None if filter is None else view.matching(filter)
    if allow is not None:
        rows = view.find(np.unique(allow))
        allowed = bitmaps.resized(None, view.part.rows)
        bitmaps.add(allowed, rows[rows >= 0])
        chosen = allowed if chosen is None else allowed & bitmaps.resized(chosen, view.part.rows)
    return chosen


def _scored(views: Sequence[PartView], chosen: Sequence[Bitmap | None], text: str, rows: int, length: int) -> Scored:
    """Ids and scores of all rows that may be found and have one of the words."""
    scores: list[NDArray[np.float64] | None] = [None] * len(views)
    for word in sorted(set(words(text))):
        found = []
        for view in views:
            at, counts = view.postings.find(word)
            if view.dead is not None:
                alive = ~bitmaps.has(view.dead, at)
                at, counts = at[alive], counts[alive]
            found.append((at, counts))
        having = sum(len(at) for at, _ in found)
        idf = math.log(1 + (rows - having + 0.5) / (having + 0.5))
        for number, (at, counts) in enumerate(found):
            if len(at) == 0:
                continue
            sums = scores[number]
            if sums is None:
                sums = scores[number] = np.zeros(views[number].part.rows)
            often = counts.astype(np.float64)
            norm = K1 * (1 - B + B * (views[number].postings.lengths[at] / (length / rows)))
            sums[at] += idf * (often * (K1 + 1) / (often + norm))
    ids, values = [np.empty(0, np.int64)], [np.empty(0)]
    for view, sums, may in zip(views, scores, chosen, strict=True):
        if sums is not None:
            hits = np.flatnonzero(sums)
            hits = hits if may is None else hits[bitmaps.has(may, hits)]
            ids.append(view.part.index.ids[hits])
            values.append(sums[hits])
    return np.concatenate(ids), np.concatenate(values)


def _best(scored: Scored, k: int) -> Scored:
    ids, scores = scored
    if len(scores) > k:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        ids, scores = ids[kept], scores[kept]
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


def _padded(found: Sequence[Scored], k: int) -> Hits:
    """float32[n, k] and int64[n, k], −inf and −1 where a query has fewer."""
    hits = Hits(np.full((len(found), k), -np.inf, np.float32), np.full((len(found), k), -1, np.int64))
    for query, (ids, scores) in enumerate(found):
        hits.scores[query, : len(scores)], hits.ids[query, : len(ids)] = scores, ids
    return hits
