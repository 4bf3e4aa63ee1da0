"""k-means for the lists of IVF: Lloyd's algorithm on a sample, kept balanced; in two levels for many lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats
from bebr.device import extension_of

# More rows a list than this move no centroid (116,000 MiniLM vectors, 256 lists: the same recall from 128 on).
SAMPLE_PER_LIST = 256
# More lists than this are found in two levels: 65,536 lists then cost 256 times less.
MOST_DIRECT = 4096
_ITERATIONS = 12
# Iterations over all lists after those in groups: neighbours across a group's border find each other.
_ACROSS = 2
# A list above this multiple of the mean gets another centroid, taken from the smallest list, while iterations last.
_LARGE = 2.0
_SPREAD = 1e-3
# Multiplications between two pauses: some hundredths of a second.
_PIECE_PRODUCTS = 1 << 31

Pause = Callable[[], None]


class Nearest(Protocol):
    """:func:`nearest`, or what stands for it on a device."""

    def __call__(
        self, x: Floats, centroids: Floats, pause: Pause | None = None, roughly: bool = False
    ) -> NDArray[np.uint32]: ...


def kmeans(
    x: Floats,
    nlist: int,
    seed: int,
    pause: Pause | None = None,
    most_direct: int = MOST_DIRECT,
    device: str = "cpu",
) -> Floats:
    """Centroids float32[nlist, d] of ``x`` float32[n, d], n >= nlist; at most 256 rows a list are used. ``pause`` is
    called between short pieces of work, and may raise.

    Every assignment goes to the nearest centroid by Euclidean distance. Lists that stay small give their centroid to
    the largest ones, so that sizes end within a small multiple of each other where the data allows it.

    More than ``most_direct`` lists: k-means over about sqrt(nlist) groups, then in each group, with lists in proportion
    to its vectors; the centroids of a group follow one another.

    device: where rows are assigned to centroids, most of the work. Errors as :func:`bebr.device.extension_of`.
    """
    near = nearest if device == "cpu" else _nearest_on(device)
    rng = np.random.default_rng(seed)
    if len(x) > nlist * SAMPLE_PER_LIST:
        x = x[np.sort(rng.permutation(len(x))[: nlist * SAMPLE_PER_LIST])]
    return _two_levels(x, nlist, rng, pause, near) if nlist > most_direct else _lloyd(x, nlist, rng, pause, near)


def nearest(x: Floats, centroids: Floats, pause: Pause | None = None, roughly: bool = False) -> NDArray[np.uint32]:
    """The number of the nearest of ``centroids`` float32[k, d], by Euclidean distance, for each of ``x`` float32[n, d]:
    uint32[n]. ``roughly``: by bf16 where that is fast, and seldom the next nearest then."""
    engine = core.Centroids(centroids)
    if pause is None:
        return engine.assign(x, roughly)
    of = np.empty(len(x), np.uint32)
    step = max(256, _PIECE_PRODUCTS // centroids.size)
    for begin in range(0, len(x), step):
        of[begin : begin + step] = engine.assign(x[begin : begin + step], roughly)
        pause()
    return of


def assigning_on(device: str, centroids: Floats) -> Callable[[Floats], NDArray[np.uint32]]:
    """:func:`nearest` of these centroids on a device, where they stay. Up to 4,096 it finds what the CPU finds; of more
    it looks at those in near groups, as the CPU does, which may go by bf16 there. Errors as
    :func:`bebr.device.extension_of`; :class:`LimitExceeded` where the device's memory is short."""
    extension, number = extension_of(device)
    return extension.Centroids(number, centroids).assign  # type: ignore[no-any-return]


def _nearest_on(device: str) -> Nearest:
    extension_of(device)  # a wrong name, or no device, is said before any work

    def near(x: Floats, centroids: Floats, pause: Pause | None = None, roughly: bool = False) -> NDArray[np.uint32]:
        of = assigning_on(device, centroids)(x)
        if pause is not None:
            pause()
        return of

    return near


def _two_levels(x: Floats, nlist: int, rng: np.random.Generator, pause: Pause | None, near: Nearest) -> Floats:
    count = round(np.sqrt(nlist))
    few = np.sort(rng.permutation(len(x))[: count * SAMPLE_PER_LIST])
    of = near(x, _lloyd(x[few], count, rng, pause, near), pause, roughly=True)
    order = np.argsort(of, kind="stable")
    sizes = np.bincount(of, minlength=count)
    ends = np.cumsum(sizes)
    centroids = np.empty((nlist, x.shape[1]), np.float32)
    done = 0
    for group, wanted in enumerate(_shares(sizes, nlist).tolist()):
        if wanted:
            members = x[order[ends[group] - sizes[group] : ends[group]]]
            centroids[done : done + wanted] = _lloyd(members, wanted, rng, pause, near)
            done += wanted
    for _ in range(_ACROSS):
        centroids = core.list_means(x, near(x, centroids, pause, roughly=True), centroids)[1]
    return centroids


def _shares(sizes: NDArray[np.int64], nlist: int) -> NDArray[np.int64]:
    """``nlist`` (at most the sum of sizes) divided in proportion to sizes, none more than its size: largest
    remainders."""
    exact = sizes * (nlist / sizes.sum())
    shares: NDArray[np.int64] = np.minimum(np.floor(exact).astype(np.int64), sizes)
    while (missing := nlist - int(shares.sum())) > 0:
        remainder = np.where(shares < sizes, exact - shares, -np.inf)
        shares[np.argsort(-remainder, kind="stable")[: min(missing, int((shares < sizes).sum()))]] += 1
    return shares


def _lloyd(x: Floats, nlist: int, rng: np.random.Generator, pause: Pause | None, near: Nearest = nearest) -> Floats:
    centroids = x[np.sort(rng.permutation(len(x))[:nlist])].copy()
    spread = _SPREAD * np.sqrt(x.var(axis=0)).astype(np.float32)
    for iteration in range(_ITERATIONS):
        of = near(x, centroids, pause)
        sizes, centroids = core.list_means(x, of, centroids)
        if iteration < _ITERATIONS - 3:
            _split(centroids, sizes, spread * np.sign(rng.standard_normal(x.shape[1])).astype(np.float32))
    return centroids


def _split(centroids: Floats, sizes: NDArray[np.int64], step: Floats) -> None:
    """Move the centroids of the smallest lists next to those of lists that are too large, in place."""
    order = np.argsort(sizes, kind="stable")
    large = order[::-1][: max(1, len(sizes) // 8)]
    for small, big in zip(order, large, strict=False):
        if sizes[big] <= max(_LARGE * sizes.mean(), 2 * sizes[small]):
            return
        centroids[small] = centroids[big] + step
        centroids[big] = centroids[big] - step
