"""k-means for the lists of IVF: Lloyd's algorithm on a sample, kept balanced."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bebr import _core
from bebr.arrays import Floats

# More rows a list than this move no centroid (116,000 MiniLM vectors, 256 lists: the same recall from 128 on).
SAMPLE_PER_LIST = 256
_ITERATIONS = 12
# A list above this multiple of the mean gets another centroid, taken from the smallest list, while iterations last.
_LARGE = 2.0
_SPREAD = 1e-3


def kmeans(x: Floats, lists: int, seed: int) -> Floats:
    """Centroids float32[lists, d] of ``x`` float32[n, d], n >= lists; at most 256 rows a list are looked at.

    Every assignment goes to the nearest centroid by Euclidean distance. Lists that stay small give their centroid to
    the largest ones, so that sizes end within a small multiple of each other where the data allows it.
    """
    rng = np.random.default_rng(seed)
    if len(x) > lists * SAMPLE_PER_LIST:
        x = x[np.sort(rng.permutation(len(x))[: lists * SAMPLE_PER_LIST])]
    centroids = x[np.sort(rng.permutation(len(x))[:lists])].copy()
    spread = _SPREAD * np.sqrt(x.var(axis=0)).astype(np.float32)
    for iteration in range(_ITERATIONS):
        of = _core.Centroids(centroids).assign(x)
        sizes, means = _means(x, of, centroids)
        centroids = means
        if iteration < _ITERATIONS - 3:
            _split(centroids, sizes, spread * np.sign(rng.standard_normal(x.shape[1])).astype(np.float32))
    return centroids


def _means(x: Floats, of: NDArray[np.uint32], before: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Size and mean of every list; an empty one keeps its centroid."""
    sizes = np.bincount(of, minlength=len(before))
    there = np.flatnonzero(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes[there])[:-1]])
    sums = np.add.reduceat(x[np.argsort(of, kind="stable")], starts, axis=0)
    means = before.copy()
    means[there] = sums / sizes[there, None]
    return sizes, means


def _split(centroids: Floats, sizes: NDArray[np.int64], step: Floats) -> None:
    """Move the centroids of the smallest lists beside those of lists that are too large, in place."""
    order = np.argsort(sizes, kind="stable")
    large = order[::-1][: max(1, len(sizes) // 8)]
    for small, big in zip(order, large, strict=False):
        if sizes[big] <= max(_LARGE * sizes.mean(), 2 * sizes[small]):
            return
        centroids[small] = centroids[big] + step
        centroids[big] = centroids[big] - step
