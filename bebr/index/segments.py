"""One search over several immutable segments of a collection, and the rows in memory that are not in one yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr import _core
from bebr.arrays import Ids, as_ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes, PreparedQueries
from bebr.index.base import Hits, check_k, check_oversampling, core_queries, row_format
from bebr.index.flat import FlatIndex, first_stage_rows

StopFlag = _core.StopFlag
Bitmap = NDArray[np.uint64]
"""A bit a row, by position: bit i % 64 of word i // 64; at least as many bits as there are rows."""


@dataclass(frozen=True)
class SegmentView:
    """A segment and which of its rows were removed, as one search sees them. Neither changes while it is used."""

    index: FlatIndex
    dead: Bitmap | None = None

    @cached_property
    def live(self) -> int:
        """Rows that were not removed."""
        return len(self.index) - (0 if self.dead is None else _core.count_bits(self.dead))


class TailRows:
    """Codes under int64 ids in memory, only ever appended to; an id may come again, and its row in a later place.

    Searches read what :meth:`freeze` returns. Threads: any number may call at once.
    """

    def __init__(self, binarizer: Binarizer) -> None:
        self._binarizer = binarizer
        self._core = _core.TailRows(row_format(binarizer))

    def __len__(self) -> int:
        return len(self._core)

    def append(self, codes: Codes, ids: ArrayLike) -> None:
        """Add rows at the end, all or none. ``ValueError`` for codes of another shape, or a negative id."""
        self._core.append(np.ascontiguousarray(codes.planes), codes.factor_rows(), as_ids(ids, "ids", len(codes)))

    def positions(self, ids: ArrayLike) -> Ids:
        """int64[n], where the newest rows of ``ids`` int64[n] stand; -1: there is none."""
        return self._core.positions(as_ids(ids, "ids"))

    def freeze(self) -> FlatIndex:
        """The rows there are now as an index that never changes. Costs no copy of them, but for the last few."""
        return FlatIndex._of(self._binarizer, self._core.freeze())


def search_segments(
    views: Sequence[SegmentView],
    bz: Binarizer,
    prepared: PreparedQueries,
    k: int,
    *,
    oversampling: int | None = None,
    exact: bool = False,
    allow: ArrayLike | None = None,
    radius: float | None = None,
    batch_invariant: bool = True,
    stop: StopFlag | None = None,
) -> Hits:
    """The k best rows of all segments together for each query.

    The answer is the same, to the bit, however the rows are divided among segments.
    bz: the model of the codes; ``prepared``: queries for it (:meth:`Binarizer.prepare_for`).
    oversampling: candidates kept after the first-stage scan over sign bits, as a multiple of k. None: chosen during
    training. exact: score every row by all its bits that a bound on its score cannot rule out.
    allow: int64 ids; only these rows are considered. radius: only rows at least this similar (l2: at most this squared
    distance). batch_invariant: results do not depend on which queries share the batch; False is faster for large ones.
    stop: once it is set, the search ends with :class:`bebr.errors.Cancelled`.

    ``ValueError`` for k < 1, oversampling < 1 or beside exact, a bitmap with too few words, codes of another model.
    """
    k = check_k(k)
    times = check_oversampling(oversampling, exact)
    if not views:
        worst = np.inf if bz.metric == "l2" else -np.inf
        shape = (len(prepared.y), k)
        return Hits(np.full(shape, worst, np.float32), np.full(shape, -1, np.int64))
    batch_invariant = batch_invariant or exact or times is not None
    whole = not batch_invariant and _core.FlatIndex.by_whole_codes(len(prepared.y))
    rows = sum(view.live for view in views)
    survivors = first_stage_rows(bz, rows, k) if times is None else min(times * k, max(rows, 1))
    scores, ids = _core.search(
        [(view.index._engine, view.dead, None) for view in views],
        core_queries(prepared, not exact and not whole),
        k,
        survivors=survivors,
        exact=exact,
        batch_invariant=batch_invariant,
        allow=None if allow is None else as_ids(allow, "allow"),
        min_scores=None if radius is None else bz.engine_min_scores(radius, prepared),
        stop=stop,
    )
    return Hits(bz.metric_scores(scores, prepared), ids)
