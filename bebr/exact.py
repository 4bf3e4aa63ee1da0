"""Exact nearest neighbours by float arithmetic, and recall: the share of them that a search found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bebr.arrays import Floats, Ids, normalized
from bebr.threads import blas_threads


def exact(base: Floats, queries: Floats, k: int, metric: str, block: int = 16384) -> Ids:
    """Rows of the k best by float32 arithmetic, best first: int64[queries, k]. Memory: queries x block floats."""
    if not 1 <= k <= len(base):
        raise ValueError(f"k: got {k}, wanted 1 to {len(base)}, the number of vectors")
    # For l2 all is centred, which moves no distance and spares float32 a large common part.
    middle = base[:block].mean(axis=0) if metric == "l2" else np.float32(0)

    def scored(x: Floats) -> Floats:
        if metric == "ip":
            return x
        return normalized(x) if metric == "cosine" else x - middle

    blocks = (scored(base[start : start + block]) for start in range(0, len(base), block))
    with blas_threads(base.size * len(queries)):
        return best(blocks, scored(queries), k, metric)


def best(blocks: Iterable[Floats], queries: Floats, k: int, metric: str) -> Ids:
    """The same over rows that come in ``blocks``, by :func:`similarity`; fewer columns where there are fewer rows."""
    scores = np.full((len(queries), 0), -np.inf, np.float32)
    ids = np.zeros((len(queries), 0), np.int64)
    rows = 0
    for block in blocks:
        scores = np.hstack([scores, similarity(queries, block, metric)])
        ids = np.hstack([ids, np.broadcast_to(np.arange(rows, rows + len(block)), (len(queries), len(block)))])
        rows += len(block)
        if rows > k:
            keep = top(scores, k)
            scores, ids = np.take_along_axis(scores, keep, 1), np.take_along_axis(ids, keep, 1)
    return np.take_along_axis(ids, np.argsort(-scores, axis=1, kind="stable"), 1)


def similarity(queries: Any, rows: Any, metric: str) -> Any:
    """[q, n] of arrays or tensors: inner products, or for l2 the negative squared distance plus the query's square."""
    products = queries @ rows.T
    return 2 * products - (rows * rows).sum(1) if metric == "l2" else products


def top(scores: Floats, k: int) -> Ids:
    """Columns of the k highest scores of each row, in no order: int64[n, k]."""
    return np.asarray(np.argpartition(-scores, k - 1, axis=1)[:, :k], np.int64)


def hits(found: Ids, truth: Ids) -> Floats:
    """Share of each row of ``truth`` int64[n, k] that is in the same row of ``found`` int64[n, any]: float32[n]."""
    shares = (found[:, :, None] == truth[:, None, :]).any(axis=1).mean(axis=1)
    return np.asarray(shares, np.float32)


def recall(found: Ids, truth: Ids) -> float:
    """The mean of those shares."""
    return float((found[:, :, None] == truth[:, None, :]).any(axis=1).mean())
