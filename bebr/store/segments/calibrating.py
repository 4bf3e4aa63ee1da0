"""How far a search of a segment has to look, so that it finds what a scan of the segment's codes would."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.index import FlatIndex
from bebr.index.ivf import IVFIndex
from bebr.index.segments import Effort, SegmentView, search_segments
from bebr.store.files import bitmaps
from bebr.store.files.kept import Keeping
from bebr.store.snapshots.live import Piece, Run
from bebr.store.snapshots.part import Part

# Rows that are queries, and the numbers of results that are measured: between them and above, a power law holds.
QUERIES, KS = 400, (10, 100)
_TOGETHER = 16  # queries between two pauses
_MOST_CANDIDATES = 1 << 14  # of a walk: beyond, a scan is faster
# So much of the allowed loss may rows lose: other queries lose more. A row is a node, whose links lead to what a search
# with it wants, and a graph that gave rows .99 gave other queries .976. Lists that gave rows .98 cost .0105 of recall,
# for a loss of .0145 of what a scan finds (docs/experiments/segment-kinds.md).
_LOSS_OF_ROWS = 0.25
# An effort is known to a 32nd. Guesses of where it is, before halves alone are taken.
_FINENESS, _MOST_GUESSES = 32, 6
_FARTHEST = 40.0  # a logarithm above that of every effort


def calibrated(part: Part, keeping: Keeping | None, target: float, pause: Callable[[], None]) -> Effort | None:
    """The least lists or candidates (`least_effort`) by which searches with rows of the segment, themselves left out,
    find a share `target` of what a scan finds, for each of some k; None for a flat segment. `pause` is called between
    pieces of work.

    Of lists, a scan is a search of all of them: what a sign plane rules out there, no number of lists makes good for.

    By one standard error more than it is measured with, a share has to be reached that loses `_LOSS_OF_ROWS` of what
    `target` allows to be lost.
    """
    index = part.index
    if isinstance(index, FlatIndex):
        return None
    chosen = np.random.default_rng(0).choice(part.rows, min(part.rows, 2 * QUERIES), replace=False)
    rows = np.sort(chosen[~bitmaps.has(part.bare, chosen)][:QUERIES])
    piece = Piece([Run(part, rows, np.arange(len(rows)))], len(rows))
    bz, own = index.binarizer, piece.ids()
    vectors = piece.vectors(bz, keeping)
    prepared = [bz.prepare_vectors(vectors[i : i + _TOGETHER]) for i in range(0, len(own), _TOGETHER)]
    loss = (1 - target) * _LOSS_OF_ROWS
    lists = len(index.list_sizes) if isinstance(index, IVFIndex) else None
    most = min(_MOST_CANDIDATES, part.rows) if lists is None else lists

    def found(k: int, effort: int | None) -> Ids:
        """The ids of each query's k best others, int64[n, k]; `effort` None: by a scan."""
        view = SegmentView(index, part.bare, effort=None if effort is None else Effort(((k, effort),)))
        pieces = []
        for some in prepared:
            pieces.append(search_segments([view], bz, some, k + 1, exact=effort is None).ids)
            pause()
        ids = np.concatenate(pieces)
        others = ids != own[:, None]
        others[others.all(axis=1), -1] = False
        kept: Ids = ids[others]
        return kept.reshape(len(own), k)

    measured: list[tuple[int, int]] = []
    depths = [k for k in KS if k < part.rows] if len(own) else []
    scanned = found(depths[-1], None) if depths and lists is None else own

    def lost(k: int, wanted: Ids, effort: int) -> float:
        return _lost(found(k, effort), wanted)

    for k in depths:
        # of candidates, a walk keeps as many as are wanted anyway
        fewest, wanted = (k + 1, scanned[:, :k]) if lists is None else (1, found(k, lists))
        first = max(fewest, measured[-1][1] if measured else 1)
        measured.append((k, least_effort(partial(lost, k, wanted), first, most, loss)))
    return Effort(tuple(measured) or ((1, most),))


def least_effort(lost: Callable[[int], float], first: int, most: int, allowed: float) -> int:
    """An effort from `first` to `most` by which searches lose at most `allowed`, and at most a 32nd above one by which
    they lose more; `most`, which is not measured, where no other is enough.

    From few to many, never more than twice what is too little: a search of half of the lists costs what a scan does,
    and mostly few are enough. What is lost falls about as a power of the effort, so that two measurements say where to
    look; a merge of 131,072 rows took half as long again by halves alone.
    """
    below, above, at, guesses = first - 1, most, first, 0
    points: list[tuple[int, float]] = []
    while above - below > max(1, above // _FINENESS):
        points.append((at, lost(at)))
        if points[-1][1] <= allowed:
            above = at
        else:
            below = at
        at = halves = min(2 * below, (below + above) // 2)
        guess = _crossing(points[-2:], allowed) if guesses < _MOST_GUESSES else None
        if guess is not None:
            guess = min(guess, above)
            step = max(1, guess // _FINENESS)
            # Beside what was measured, so that the next measurement holds it from the other side.
            at = min(max(guess, below + step), above - step, 2 * below if above == most else above)
            guesses += at != halves
        at = min(max(at, below + 1), above - 1)
    return above


def _crossing(points: Sequence[tuple[int, float]], allowed: float) -> int | None:
    """Where the power law through two points falls to `allowed`; None where they say nothing."""
    if len(points) < 2:
        return None
    (first, lost), (second, lost_then) = sorted(points)
    if not (lost > lost_then > 0 and allowed > 0) or first == second:
        return None
    slope = math.log(lost_then / lost) / math.log(second / first)
    return math.ceil(math.exp(min(math.log(second) + math.log(allowed / lost_then) / slope, _FARTHEST)))


def _lost(found: Ids, wanted: Ids) -> float:
    """The share of `wanted` int64[n, k] that was not found, and its standard error more."""
    there = wanted >= 0
    seen = (wanted[:, :, None] == found[:, None, :]).any(axis=2) & there
    shares: NDArray[np.float64] = seen.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return float(1 - shares.mean() + shares.std() / np.sqrt(len(shares)))
