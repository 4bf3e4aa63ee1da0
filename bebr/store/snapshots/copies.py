"""Copies of the rows that a filter lets through, for filters that come again and again.

A scan of rows of which a tenth matches reads them all, and rows that are completed one by one lie far apart. So a
search with a filter that came before also copies some of the matching rows, about as many as cost what it spent on
account of the others. Once a copy is whole, searches read it alone. Of a scan they find the same, for only where rows
stand differs; of lists, what they find in the same ones.
"""

from __future__ import annotations

import threading
from itertools import count

from bebr.arrays import Ids
from bebr.collection.filter_tree import Filter
from bebr.index import FlatIndex, Index
from bebr.index.ivf import IVFIndex
from bebr.index.segments import Effort, ListRows, SegmentView, TailRows
from bebr.lazy import lazy_property
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap

# Of a part's rows, the share that its copies may have together.
_MOST_SHARE = 0.6
# Of a graph: its searches read few rows, so that only small copies are read faster.
_MOST_SHARE_OF_GRAPH = 0.02
# And how many rows these are, of a part in lists: large files stay on disk.
_MOST_IN_LISTS = 1 << 20
# And how many copies they may be.
MOST_COPIES = 64
# A copy of more rows of a part in lists is in the same lists; of fewer, it is scanned.
_MOST_SCANNED = 4096
# Passing over so many rows costs about as much as copying one.
_COPY_COST = 300
# A query with a mask over lists wastes what it costs to copy so many rows from lists to lists.
_DUE_OF_LISTS = 2048
# Rows copied by one search. To copy the fewest takes less than Python's part of a search.
_LEAST_AT_ONCE, _MOST_AT_ONCE = 1024, 16_384


class Copies:
    """Of the rows of one index, which does not change. Threads: any number at once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        share = _MOST_SHARE if isinstance(index, FlatIndex | IVFIndex) else _MOST_SHARE_OF_GRAPH
        self._most_rows = share * len(index)
        if isinstance(index, IVFIndex):
            self._most_rows = min(self._most_rows, _MOST_IN_LISTS)
        self._copies: dict[Filter, Copy] = {}
        self._lock = threading.Lock()

    def view(
        self, filter: Filter, matching: Bitmap, dead: Bitmap | None, queries: int, each: bool, effort: Effort | None
    ) -> tuple[SegmentView | None, bool]:
        """The rows that match, `matching` of all, without the dead ones; None where there is no copy. And whether the
        next search gets the same, if it `keeps` this one. `queries`: how many the search has; `each`: it completes
        every row, rather than scan them; `effort`: of searches of the index."""
        if not self._lock.acquire(blocking=False):
            return None, False  # another search is copying
        try:
            copy = self._copies.get(filter)
            if copy is None:
                size = bitmaps.count(matching)
                if size > self._most_rows:
                    return None, True
                copy = self._copies[filter] = Copy(self._index, matching, size, self.in_lists(size))
            else:
                copy.used = next(_uses)
                passed = len(self._index) - copy.size
                due = copy.size // 4 if each else queries * passed // _COPY_COST
                if copy.in_lists:
                    due = queries * _DUE_OF_LISTS
                copy.grow(min(max(due, _LEAST_AT_ONCE), _MOST_AT_ONCE))
            while len(self._copies) > MOST_COPIES or self._copied_rows() > self._most_rows:
                oldest, given_up = min(self._copies.items(), key=lambda one: one[1].used)
                given_up.kept = False
                del self._copies[oldest]
            view = copy.view(dead, effort)
            return view, view is not None
        finally:
            self._lock.release()

    def held(self, filter: Filter) -> Copy | None:
        """The copy of what a filter lets through, as far as it came; None where there is none."""
        return self._copies.get(filter)

    def in_lists(self, rows: int) -> bool:
        """Whether a copy of so many rows is in the lists that the index has."""
        return isinstance(self._index, IVFIndex) and rows > _MOST_SCANNED

    def _copied_rows(self) -> int:
        return sum(copy.size for copy in self._copies.values() if copy.begun)


_uses = count()


class Copy:
    """Of the rows `matching`, `size` of them. Nothing is held for a filter that came once. `kept`: it is among the
    copies that are held; `used`: of those used before, it is greater."""

    def __init__(self, index: Index, matching: Bitmap, size: int, in_lists: bool) -> None:
        self._from, self._matching = index, matching
        self.size, self.in_lists, self.begun = size, in_lists, False
        self.kept, self.used = True, next(_uses)
        self._whole: Index | None = None
        self._last: tuple[Bitmap | None, SegmentView] | None = None

    def keeps(self) -> bool:
        """Whether it is still held. It counts as used last."""
        self.used = next(_uses)
        return self.kept

    @property
    def whole(self) -> bool:
        """Whether all rows are copied."""
        return self._whole is not None

    @lazy_property
    def rows(self) -> Ids:
        """Positions of the rows, ascending."""
        return bitmaps.members(self._matching)

    @lazy_property
    def _lists(self) -> ListRows:
        assert isinstance(self._from, IVFIndex)
        return ListRows(self._from, self._matching)

    @lazy_property
    def _flat(self) -> TailRows:
        return TailRows(self._from.binarizer)

    def grow(self, rows: int) -> None:
        """Copies so many rows more."""
        self.begun = True
        if self.whole:
            return
        if self.in_lists:
            self._whole = self._lists.grow(rows)
            if self.whole:
                del self._lists
            return
        done = len(self._flat)
        self._flat.append(*self._from.codes(self._from.ids[self.rows[done : done + rows]]))
        if len(self._flat) == self.size:
            self._whole = self._flat.freeze()

    def view(self, dead: Bitmap | None, effort: Effort | None) -> SegmentView | None:
        """Without the rows that are `dead` of those where they were copied from; None until all are copied."""
        if self._whole is None:
            return None
        if self._last is None or self._last[0] is not dead:
            gone = None if dead is None else bitmaps.of_bools(bitmaps.has(dead, self.rows))
            self._last = dead, SegmentView(self._whole, gone, effort=effort)
        return self._last[1]
