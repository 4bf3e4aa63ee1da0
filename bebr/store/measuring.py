"""Recall of a live collection against exact scores of the vectors it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import Floats, Ids, as_vectors, normalized
from bebr.binarizer import Binarizer
from bebr.collection.checks import MOST_SAMPLE, check_sample
from bebr.collection.options import SearchOptions
from bebr.collection.protocol import RecallEstimate
from bebr.exact import similarity
from bebr.index import check_k
from bebr.store.retraining import sample as drawn
from bebr.store.searching import search_vectors
from bebr.store.snapshot import Snapshot

# Scores held at a time, and what they take: as scores and ids, sorted and not.
_PIECE = 1 << 20
MEASURING_BYTES = 48 * _PIECE
# Of a normal distribution, within this many deviations lie 95 %.
_DEVIATIONS = 1.96


def measured_recall(
    snapshot: Snapshot, bz: Binarizer, sample: ArrayLike | int, k: int, rescore: int | None
) -> RecallEstimate:
    """`Collection.measure_recall` of a snapshot. `bz`: the collection's model."""
    check_k(k)
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
    found = search_vectors(snapshot, bz, queries, SearchOptions(k + 1, rescore=rescore)).ids
    truth = exact_ids(snapshot, queries, k + 1, bz.metric)
    return estimated(without(found, own, k), without(truth, own, k), k)


def exact_ids(snapshot: Snapshot, queries: Floats, k: int, metric: str) -> Ids:
    """The k best live rows by kept vectors, int64[n, k], best first; −1 where there are fewer."""
    queries = normalized(queries) if metric == "cosine" else queries
    scores = np.full((len(queries), k), -np.inf, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    for numbers, vectors in _pieces(snapshot, max(64, _PIECE // len(queries) // 64 * 64)):
        scores = np.hstack([scores, similarity(queries, vectors, metric)])
        ids = np.hstack([ids, np.broadcast_to(numbers, (len(queries), len(numbers)))])
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1)


def _pieces(snapshot: Snapshot, size: int) -> Iterator[tuple[Ids, Floats]]:
    for view in snapshot.parts:
        for begin in range(0, view.part.rows, size):
            rows = view.live_rows(begin, begin + size)
            if len(rows):
                yield view.part.index.ids[rows], snapshot.keeping.vectors(view.part.kept(rows))


def without(ids: Ids, own: Ids | None, k: int) -> Ids:
    """int64[n, k] of int64[n, k + 1]: without a query's own row, where queries are rows, or the last."""
    others = np.ones(ids.shape, np.bool_) if own is None else ids != own[:, None]
    others[others.all(axis=1), -1] = False
    return np.asarray(ids[others].reshape(len(ids), k), np.int64)


def estimated(found: Ids, truth: Ids, k: int) -> RecallEstimate:
    """Of what a search found, int64[n, k], and what is true."""
    real = truth >= 0
    shares = ((found[:, :, None] == truth[:, None, :]).any(axis=1) & real).sum(axis=1) / np.maximum(real.sum(axis=1), 1)
    mean, n = float(shares.mean()), len(shares)
    # Never narrower than if one query had missed one row: few queries may all find everything by luck.
    deviation = max(float(shares.std(ddof=1)) if n > 1 else 1.0, 1 / (k * math.sqrt(n)))
    reach = _DEVIATIONS * deviation / math.sqrt(n)
    return RecallEstimate(mean, max(0.0, mean - reach), min(1.0, mean + reach), n, k)
