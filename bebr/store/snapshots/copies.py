"""Copies of the rows that a filter lets through, for filters that come again and again.

A scan of rows of which a tenth matches reads them all, and rows that are completed one by one lie far apart. So a
search with a filter that came before also copies some of the matching rows, about as many as cost what it spent on
account of the others. Once a copy is whole, searches read it alone. They find the same: only where rows stand differs.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict

from bebr.arrays import Ids
from bebr.collection.filter_tree import Filter
from bebr.index import FlatIndex, Index
from bebr.index.segments import SegmentView, TailRows
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap

# Of a part's rows, the share that its copies may have together.
MOST_SHARE = 0.6
# Of a part in lists or a graph: its searches read few rows, so that only small copies are read faster.
MOST_SHARE_OF_LISTS = 0.02
# And how many they may be.
MOST_COPIES = 64
# Passing over so many rows costs about as much as copying one.
_COPY_COST = 300
# Rows copied by one search. To copy the fewest takes less than Python's part of a search.
_LEAST_AT_ONCE, _MOST_AT_ONCE = 1024, 16_384


class Copies:
    """Of the rows of one index, which does not change. Threads: any number at once."""

    def __init__(self, index: Index, most_share: float) -> None:
        self._index, self._most_share = index, most_share
        self._copies: OrderedDict[Filter, _Copy] = OrderedDict()
        self._lock = threading.Lock()

    def view(
        self, filter: Filter, matching: Bitmap, dead: Bitmap | None, queries: int, each: bool
    ) -> tuple[SegmentView | None, bool]:
        """The rows that match, `matching` of all, without the dead ones; None where there is no copy. And whether the
        next search gets the same, if it `keeps` this one. `queries`: how many the search has; `each`: it completes
        every row, rather than scan them."""
        if not self._lock.acquire(blocking=False):
            return None, False  # another search is copying
        try:
            copy = self._copies.pop(filter, None)
            if copy is None:
                if bitmaps.count(matching) > self._most_share * len(self._index):
                    return None, True
                copy = _Copy(bitmaps.members(matching), self._index)
            else:
                passed = len(self._index) - len(copy.rows)
                due = len(copy.rows) // 4 if each else queries * passed // _COPY_COST
                copy.grow(min(max(due, _LEAST_AT_ONCE), _MOST_AT_ONCE))
            self._copies[filter] = copy
            while len(self._copies) > MOST_COPIES or self._copied_rows() > self._most_share * len(self._index):
                self._copies.popitem(last=False)
            view = copy.view(dead)
            return view, view is not None
        finally:
            self._lock.release()

    def keeps(self, filter: Filter) -> bool:
        """Whether there is a whole copy. It then counts as used last."""
        copy = self._copies.get(filter)
        if copy is None or not copy.whole:
            return False
        with contextlib.suppress(KeyError):  # another thread takes it out for a moment
            self._copies.move_to_end(filter)
        return True

    def _copied_rows(self) -> int:
        return sum(len(copy.rows) for copy in self._copies.values())


class _Copy:
    """`rows`: positions of the rows that match, ascending."""

    def __init__(self, rows: Ids, index: Index) -> None:
        self.rows = rows
        self._from = index
        self._rows = TailRows(index.binarizer)
        self._whole: FlatIndex | None = None
        self._last: tuple[Bitmap | None, SegmentView] | None = None

    @property
    def whole(self) -> bool:
        """Whether all rows are copied."""
        return self._whole is not None

    def grow(self, rows: int) -> None:
        """Copies so many rows more."""
        if self._whole is not None:
            return
        done = len(self._rows)
        self._rows.append(*self._from.codes(self._from.ids[self.rows[done : done + rows]]))
        if len(self._rows) == len(self.rows):
            self._whole = self._rows.freeze()

    def view(self, dead: Bitmap | None) -> SegmentView | None:
        """Without the rows that are `dead` of those where they were copied from; None until all are copied."""
        if self._whole is None:
            return None
        if self._last is None or self._last[0] is not dead:
            gone = None if dead is None else bitmaps.of_bools(bitmaps.has(dead, self.rows))
            self._last = dead, SegmentView(self._whole, gone)
        return self._last[1]
