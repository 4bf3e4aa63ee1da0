"""One search over several immutable segments of a collection, and the rows in memory that are not in one yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr import core
from bebr.arrays import Floats, Ids, as_ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes, PreparedQueries
from bebr.errors import Cancelled
from bebr.index.base import (
    Hits,
    Index,
    check_integer,
    check_k,
    check_oversampling,
    core_queries,
    row_format,
    search_options,
)
from bebr.index.device import Parts, Wanted, best_of
from bebr.index.flat import FlatIndex, first_stage_rows
from bebr.index.graph import EF_SEARCH
from bebr.index.ivf import IVFIndex
from bebr.index.pool import Placed
from bebr.index.raw import RawType
from bebr.index.sizes import MOST_LISTS
from bebr.lazy import lazy_property

StopFlag = core.StopFlag
MOST_CANDIDATES = (1 << 31) - 1
# Of fewer results, the last one soon rules out rows of lists that it should not, for sign planes alone say little: the
# best of 4,000 rows was found by 97 of 100 searches for one row, and by 99.9 of 100 for ten.
_LEAST_DEPTH = 10
# Deviations of what the sign plane cannot see, at least, by which rows of lists are let through. Training's margin
# loses .005 of what a scan finds; this one next to nothing, and the rows that it completes cost less than the lists
# that would make good for it (docs/experiments/segment-kinds.md).
_LEAST_MARGIN = 3.0
Bitmap = NDArray[np.uint64]
"""A bit a row, by position: bit i % 64 of word i // 64; at least as many bits as there are rows."""


def snapshot_of(
    bz: Binarizer,
    parts: Sequence[core.CollectionPart],
    rows: int,
    kept: RawType | None,
    candidates: core.Candidates,
) -> core.CollectionSnapshot:
    """What searches parts of one model as one, in C++ from the queries to the answer. rows: how many are live, those
    without a vector included; kept: what the vectors beside the codes are kept in; candidates: how many get exact
    scores where a search does not say."""
    return core.CollectionSnapshot(
        bz.query_model, list(parts), rows, bz.settings.first_stage_rows(rows), bz.settings.margin, kept, candidates
    )


ByK = tuple[tuple[int, int], ...]
"""What was measured for some k, ascending, and for each of these."""


@dataclass(frozen=True)
class Effort:
    """What a segment needs to reach a recall: lists (``nprobe``) or candidates (``ef_search``), as measured for some k,
    ascending. Between and above two of these it is the power law through both."""

    by_k: ByK

    def at(self, k: int) -> int:
        (below, low), (above, high) = self.by_k[0], self.by_k[-1]
        if k <= below or high <= low:
            return low
        power = math.log(high / low) / math.log(above / below)
        return math.ceil(low * math.pow(k / below, power))


@dataclass(frozen=True)
class SegmentView:
    """A segment, which of its rows were removed, and which a search may find (None: all), as one search sees them. None
    of these changes while it is used. ``effort``: of an IVF or a graph segment; None: the index's own. ``placed``: its
    rows on a device; None: the CPU searches it."""

    index: Index
    dead: Bitmap | None = None
    allow: Bitmap | None = None
    effort: Effort | None = None
    placed: Placed | None = None

    @lazy_property
    def removed(self) -> int:
        """How many rows were removed."""
        return 0 if self.dead is None else core.count_bits(self.dead)

    @property
    def live(self) -> int:
        """How many were not."""
        return len(self.index) - self.removed


class TailRows:
    """Codes under int64 ids in memory, only ever appended to; an id may come again, and its row in a later place.

    Searches read what :meth:`freeze` returns. Threads: any number may call at once.
    """

    def __init__(self, binarizer: Binarizer) -> None:
        self._binarizer = binarizer
        self._core = core.TailRows(row_format(binarizer))

    def __len__(self) -> int:
        return len(self._core)

    def reserve(self, rows: int) -> None:
        """Take the memory of so many rows at once; growing as they come needs up to three times as much for a while."""
        self._core.reserve(rows)

    def append(self, codes: Codes, ids: ArrayLike) -> None:
        """Add rows at the end, all or none. ``ValueError`` for codes of another shape, or a negative id."""
        self._core.append(np.ascontiguousarray(codes.planes), codes.factor_rows(), as_ids(ids, "ids", len(codes)))

    def positions(self, ids: ArrayLike) -> Ids:
        """int64[n], where the newest rows of ``ids`` int64[n] stand; -1: there is none."""
        return self._core.positions(as_ids(ids, "ids"))

    def part(
        self,
        frozen: FlatIndex,
        hidden: Bitmap | None,
        kept: Sequence[NDArray[np.uint8]],
        payloads: core.TextColumn,
        keys: core.TextColumn | None,
    ) -> core.CollectionPart:
        """What `freeze` returned, for `snapshot_of`. hidden: rows that no search finds; kept: blocks of vectors; keys:
        None where no row has one."""
        return core.CollectionPart(frozen._engine, hidden, list(kept), [], self._core, payloads, keys)

    def freeze(self) -> FlatIndex:
        """The rows there are now as an index that never changes. Costs no copy of them, but for the last few."""
        return FlatIndex._of(self._binarizer, self._core.freeze())


class ListRows:
    """Rows of an index that never changes, a bit each, copied to the same lists, a few at a time. ``ValueError`` for a
    bitmap with too few words. Threads: any number at once."""

    def __init__(self, index: IVFIndex, rows: Bitmap) -> None:
        self._from = index
        self._core = core.ListCopy(index._engine, rows)

    def grow(self, rows: int) -> IVFIndex | None:
        """Copies so many more; all of them, once they are copied."""
        return self._from._of(self._core.freeze(self._from.binarizer.query_model)) if self._core.grow(rows) else None


def file_part(
    index: Index,
    hidden: Bitmap | None,
    kept: NDArray[np.uint8] | None,
    effort: Effort | None,
    payloads: core.TextColumn | None,
    keys: core.TextColumn | None,
) -> core.CollectionPart:
    """The rows of a file, for `snapshot_of`. hidden: rows that no search finds; kept: their vectors as stored, None
    where there are none, or the index has them; effort: as of `SegmentView`; payloads, keys: None where no row has
    one."""
    blocks = [] if kept is None else [kept]
    apart = None if kept is not None or index._raw is None else index._raw.core
    return core.CollectionPart(
        index._engine, hidden, blocks, _efforts(index, effort), None, payloads, keys, apart=apart
    )


def filtered_of(
    whole: core.CollectionSnapshot,
    views: Sequence[SegmentView],
    candidates: int,
    allow: Sequence[NDArray[np.uint64]],
) -> core.FilteredSnapshot:
    """What searches the rows of a snapshot that views of it allow, in C++. candidates: as of `search_segments`; allow:
    bitmaps of the same rows where they stand, one a part."""
    parts = [
        core.CollectionPart(
            view.index._engine, view.dead, [], _efforts(view.index, view.effort), None, None, None, view.allow
        )
        for view in views
    ]
    return core.FilteredSnapshot(whole, parts, candidates, list(allow))


def _efforts(index: Index, effort: Effort | None) -> list[tuple[int, int]]:
    if isinstance(index, FlatIndex):
        return []
    if effort is not None:
        return list(effort.by_k)
    return [(1, index.nprobe if isinstance(index, IVFIndex) else EF_SEARCH)]


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
    nprobe: int | None = None,
    ef_search: int | None = None,
    rows: int | None = None,
    candidates: int = 0,
    stop: StopFlag | None = None,
) -> Hits:
    """The k best rows of all segments together for each query.

    Flat segments are scanned as one: the answer is the same, to the bit, however rows are divided among them. Segments
    of other kinds follow, with the scores reached so far. Those that a device has are searched there, exactly: all of
    flat ones, and of IVF as many lists as the CPU would look at.
    bz: the model of the codes; ``prepared``: queries for it (:meth:`Binarizer.prepare_for`).
    oversampling: candidates kept after the first-stage scan over sign bits at least, as a multiple of k. None: chosen
    during training. exact: score every row by all its bits that a bound on its score cannot rule out.
    allow: int64 ids; only these rows are considered, of those that the views allow. radius: only rows at least this
    similar (l2: at most this squared distance). nprobe: lists looked at in an IVF segment, ef_search: candidates kept
    while walking a graph segment; None: by the view's effort, else the index's own. exact looks at every row of these,
    too. rows: how many the collection has, where the views hold copies of some of them; None: the live ones of
    the views. candidates: how many rows the first stage keeps at least.
    batch_invariant: results do not depend on which queries share the batch; False is faster for large ones.
    stop: once it is set, the search ends with :class:`bebr.errors.Cancelled`.

    ``ValueError`` for k < 1, oversampling < 1 or beside exact, a bitmap with too few words, codes of another model.
    """
    k = check_k(k)
    times = check_oversampling(oversampling, exact)
    if not views:
        worst = np.inf if bz.metric == "l2" else -np.inf
        shape = (len(prepared.y), k)
        return Hits(np.full(shape, worst, np.float32), np.full(shape, -1, np.int64))
    listed = any(isinstance(view.index, IVFIndex) for view in views)
    wanted, k = k, max(k, _LEAST_DEPTH) if listed else k
    rows = sum(view.live for view in views) if rows is None else rows
    efforts = [0 if exact else _effort(view, k, nprobe, ef_search) for view in views]
    min_scores = None if radius is None else bz.engine_min_scores(radius, prepared)
    how = search_options(
        k,
        exact=exact,
        batch_invariant=batch_invariant or times is not None,
        first_stage_rows=max(
            candidates, first_stage_rows(bz, rows, k) if times is None else min(times * k, max(rows, 1))
        ),
        nprobe=MOST_LISTS if exact else max(*efforts, 1),
        margin=max(bz.settings.margin, _LEAST_MARGIN) if listed else bz.settings.margin,
        min_scores=min_scores,
        stop=stop,
    )
    allowed = None if allow is None else as_ids(allow, "allow")
    found: list[tuple[Floats, Ids]] = []
    here: list[tuple[SegmentView, int]] = []
    for view, effort in zip(views, efforts, strict=True):
        rows_there = None if view.placed is None else view.placed.rows()
        if rows_there is None:
            here.append((view, effort))
            continue
        parts: Parts | None = None
        let = Wanted(allowed, view.dead, view.allow)
        if isinstance(view.index, IVFIndex) and not exact:
            lists = search_options(k, exact=True, nprobe=max(effort, 1), min_scores=min_scores)
            parts = view.index._engine.looked_at(core_queries(prepared, False), lists, *let)
        if stop is not None and stop.is_set:
            raise Cancelled("the search was stopped")
        found.append(rows_there.search(view.index._engine, prepared, k, parts, min_scores, let))
    if here:
        filtered = allow is not None or any(view.allow is not None for view, _ in here)
        whole = all(view.index._engine.by_whole_codes(len(prepared.y), how, filtered) for view, _ in here)
        found.append(
            core.search(
                [(v.index._engine, v.dead, v.removed, v.allow, effort) for v, effort in here],
                core_queries(prepared, not exact and not whole),
                how,
                allowed,
            )
        )
    scores, ids = best_of(found, k)
    return Hits(bz.metric_scores(scores, prepared)[:, :wanted], ids[:, :wanted])


def _effort(view: SegmentView, k: int, nprobe: int | None, ef_search: int | None) -> int:
    """Lists or candidates of a search of one segment; 0 where it has neither."""
    if isinstance(view.index, FlatIndex):
        return 0
    ivf = isinstance(view.index, IVFIndex)
    if ivf and nprobe is not None:
        return check_integer("nprobe", nprobe, MOST_LISTS)
    if not ivf and ef_search is not None:
        return check_integer("ef_search", ef_search, MOST_CANDIDATES)
    if view.effort is not None:
        return view.effort.at(k)
    return view.index.nprobe if isinstance(view.index, IVFIndex) else EF_SEARCH
