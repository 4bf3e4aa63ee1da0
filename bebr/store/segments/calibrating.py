"""How far a search of a segment has to look, so that it finds what a scan of the segment's codes would."""

from __future__ import annotations

from collections.abc import Callable

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


def calibrated(part: Part, keeping: Keeping | None, target: float, pause: Callable[[], None]) -> Effort | None:
    """The least lists or candidates by which searches with rows of the segment, themselves left out, find a share
    `target` of what a scan finds, for each of some k; None for a flat segment. `pause` is called between pieces of
    work.

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
    target = 1 - (1 - target) * _LOSS_OF_ROWS
    most = len(index.list_sizes) if isinstance(index, IVFIndex) else min(_MOST_CANDIDATES, part.rows)

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
    scanned = found(depths[-1], None) if depths else own
    for k in depths:
        wanted = scanned[:, :k]
        fewest = 1 if isinstance(index, IVFIndex) else k + 1  # of which a walk keeps as many as are wanted anyway
        low = high = max(fewest, measured[-1][1] if measured else 1)
        # From few to many: a search of half of the lists costs what a scan does, and mostly few are enough.
        while high < most and _reached(found(k, high), wanted) < target:
            low, high = high + 1, min(2 * high, most)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if _reached(found(k, middle), wanted) >= target else (middle + 1, high)
        measured.append((k, low))
    return Effort(tuple(measured) or ((1, most),))


def _reached(found: Ids, wanted: Ids) -> float:
    """The share of `wanted` int64[n, k] that was found, less its standard error."""
    there = wanted >= 0
    seen = (wanted[:, :, None] == found[:, None, :]).any(axis=2) & there
    shares: NDArray[np.float64] = seen.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return float(shares.mean() - shares.std() / np.sqrt(len(shares)))
