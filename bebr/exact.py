"""Exact nearest neighbours by float arithmetic: what recall is measured against."""

from __future__ import annotations

import numpy as np

from bebr.arrays import Floats, Ids, normalized


def exact(base: Floats, queries: Floats, k: int, metric: str, block: int = 16384) -> Ids:
    """Return int64[queries, k], rows of the k best by float32 arithmetic, in order. Memory: queries x block floats."""
    if not 1 <= k <= len(base):
        raise ValueError(f"k: got {k}, wanted 1 to {len(base)}, the number of vectors")
    if metric == "cosine":
        queries = normalized(queries)
    best = np.full((len(queries), 0), -np.inf, np.float32)
    ids = np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(base), block):
        rows = base[start : start + block]
        if metric == "cosine":
            rows = normalized(rows)
        scores = queries @ rows.T
        if metric == "l2":
            scores = 2 * scores - np.einsum("ij,ij->i", rows, rows)
        best = np.hstack([best, scores])
        ids = np.hstack([ids, np.broadcast_to(np.arange(start, start + len(rows)), scores.shape)])
        if best.shape[1] > k:
            keep = np.argpartition(-best, k - 1, axis=1)[:, :k]
            best, ids = np.take_along_axis(best, keep, 1), np.take_along_axis(ids, keep, 1)
    return np.take_along_axis(ids, np.argsort(-best, axis=1, kind="stable"), 1)


def hits(found: Ids, truth: Ids) -> Floats:
    """Share of each row of ``truth`` int64[n, k] that is in the same row of ``found`` int64[n, any], float32[n]."""
    shares = [np.isin(t, f).mean() for f, t in zip(found, truth, strict=True)]
    return np.array(shares, np.float32)
