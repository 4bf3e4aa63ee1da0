"""Recall of a live collection against exact scores of the vectors it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, Ids, as_vectors, normalized
from bebr.binarizer import Binarizer
from bebr.collection.checks import MOST_SAMPLE, check_effort, check_sample
from bebr.collection.options import SearchOptions
from bebr.collection.protocol import RecallEstimate
from bebr.exact import similarity
from bebr.index import check_k
from bebr.store.search.searching import search_vectors
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.workers.retraining import sample as drawn

# Scores held at a time, and what they take: as scores and ids, sorted and not.
_PIECE = 1 << 20
MEASURING_BYTES = 48 * _PIECE
# Of a normal distribution, within this many deviations lie 95 %.
_DEVIATIONS = 1.96
# Sums of float32 differ by so much of the largest score.
_ROUNDING = 1e-5


def measured_recall(
    snapshot: Snapshot,
    bz: Binarizer,
    sample: ArrayLike | int,
    k: int,
    rescore: int | None,
    nprobe: int | None,
    ef_search: int | None,
) -> RecallEstimate:
    """`Collection.measure_recall` of a snapshot. `bz`: the collection's model."""
    check_k(k)
    check_effort(nprobe, ef_search, exact=False)
    snapshot.keeping  # noqa: B018  ValueError where there is none
    if bz.has_adapter or bz.query_dim != bz.input_dim:
        raise ValueError("this model scores in a space of its own, where kept vectors have no exact scores")
    if isinstance(sample, int | np.integer):
        own, queries = drawn(snapshot, check_sample(sample))
        if len(queries) == 0:
            raise ValueError("sample is a number of rows, but the collection has none: want queries")
    else:
        own, queries = None, as_vectors(sample, "sample", bz.query_dim, allow_empty=False)
        if len(queries) > MOST_SAMPLE:
            raise ValueError(f"sample has {len(queries)} queries: want at most {MOST_SAMPLE}")
    options = SearchOptions(k + 1, rescore=rescore, nprobe=nprobe, ef_search=ef_search)
    found = search_vectors(snapshot, bz, queries, options).ids
    queries = normalized(queries) if bz.metric == "cosine" else queries
    scores, ids = exact_best(snapshot, queries, k + 1, bz.metric)
    others = _others(ids, own)
    true = scores[others].reshape(-1, k)
    mine = found[_others(found, own)].reshape(-1, k)
    return estimated(shares(_scores_of(snapshot, queries, mine, bz.metric), true), k)


def exact_best(snapshot: Snapshot, queries: Floats, k: int, metric: str) -> tuple[Floats, Ids]:
    """Scores (`bebr.exact.similarity`) and ids of the k best live rows by kept vectors, [n, k], best first; −inf and −1
    where there are fewer."""
    scores = np.full((len(queries), k), -np.inf, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    for numbers, vectors in _pieces(snapshot, max(64, _PIECE // len(queries) // 64 * 64)):
        scores = np.hstack([scores, similarity(queries, vectors, metric)])
        ids = np.hstack([ids, np.broadcast_to(numbers, (len(queries), len(numbers)))])
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def _pieces(snapshot: Snapshot, size: int) -> Iterator[tuple[Ids, Floats]]:
    for view in snapshot.parts:
        for begin in range(0, view.part.rows, size):
            rows = view.searched_rows(begin, begin + size)
            if len(rows):
                yield view.part.index.ids[rows], snapshot.keeping.vectors(view.part.kept(rows))


def _others(ids: Ids, own: Ids | None) -> NDArray[np.bool_]:
    """Which of int64[n, k + 1] are not a query's own row, where queries are rows; k of each: else the last is not."""
    others = np.ones(ids.shape, np.bool_) if own is None else ids != own[:, None]
    others[others.all(axis=1), -1] = False
    return others


def _scores_of(snapshot: Snapshot, queries: Floats, ids: Ids, metric: str) -> Floats:
    """Of rows found for each query, int64[n, k]; −inf for −1."""
    scores = np.full(ids.shape, -np.inf, np.float32)
    step = max(1, _PIECE // (ids.shape[1] * queries.shape[1]))
    for begin in range(0, len(ids), step):
        some, real = ids[begin : begin + step], ids[begin : begin + step] >= 0
        vectors = snapshot.vectors(some[real])
        against = np.repeat(queries[begin : begin + step], real.sum(axis=1), axis=0)
        products = np.einsum("ij,ij->i", against, vectors)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        scores[begin : begin + step][real] = 2 * products - squares if metric == "l2" else products
    return scores


def shares(found: Floats, true: Floats) -> NDArray[np.float64]:
    """The share of the best rows that each query found, given scores [n, k] of what it found and of the best: a row
    counts where it is as good as the last of them, so that equals stand for each other."""
    real = np.isfinite(true).sum(axis=1)
    last = np.take_along_axis(true, np.maximum(real - 1, 0)[:, None], axis=1)
    slack = _ROUNDING * np.abs(np.where(np.isfinite(true), true, 0)).max(axis=1, keepdims=True)
    good = (np.isfinite(found) & (found >= last - slack)).sum(axis=1)
    return np.asarray(np.where(real > 0, np.minimum(good, real) / np.maximum(real, 1), 1.0), np.float64)


def estimated(found: NDArray[np.float64], k: int) -> RecallEstimate:
    """Of the shares of the k best that queries found."""
    mean, n = float(found.mean()), len(found)
    # Never narrower than if one query had missed one row: few queries may all find everything by luck.
    deviation = max(float(found.std(ddof=1)) if n > 1 else 1.0, 1 / (k * math.sqrt(n)))
    reach = _DEVIATIONS * deviation / math.sqrt(n)
    return RecallEstimate(mean, max(0.0, mean - reach), min(1.0, mean + reach), n, k)
