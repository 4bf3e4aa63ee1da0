"""Parts of a collection: rows that never change, and which of them are alive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Ids
from bebr.collection.filter_tree import Filter
from bebr.index import Index
from bebr.index.pool import Placed
from bebr.index.segments import ByK, Effort, SegmentView
from bebr.lazy import lazy_property
from bebr.store.catalog.records import SegmentRow
from bebr.store.columns.table import Columns
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap
from bebr.store.files.kept import Keeping, Rows
from bebr.store.snapshots.copies import Copies
from bebr.store.snapshots.matching import MOST_KEPT
from bebr.store.text.index import Postings, TextIndex


class Part(Protocol):
    """Rows at positions 0..rows-1 that never change: a segment file, or the tail up to some moment."""

    @property
    def rows(self) -> int: ...

    @property
    def row(self) -> SegmentRow | None:
        """What the catalog says of its file; None for rows in memory."""

    @property
    def index(self) -> Index: ...

    @property
    def effort(self) -> Effort | None:
        """Of searches, where it is in lists or a graph and that was measured."""

    @property
    def rescored(self) -> ByK | None:
        """How many of its best by code hold its k best by exact scores, where that was measured."""

    @property
    def placed(self) -> Placed | None:
        """Its rows on a device, where the database has one; None: the CPU searches it."""

    @property
    def origin(self) -> object:
        """What it is the beginning of: a tail, of which later parts have more rows, or itself."""

    @property
    def keeping(self) -> Keeping | None:
        """Of the vectors that it keeps; None where there are none."""

    def kept(self, rows: Ids) -> Rows:
        """The vectors of these rows as they are stored."""

    def engine(self, hidden: Bitmap | None) -> core.CollectionPart:
        """Its rows but the `hidden` ones, for a search that is no Python."""

    @property
    def keyed(self) -> bool:
        """Whether a row has a key beside its number."""

    @property
    def moved(self) -> bool:
        """Whether a row is not at the first place of its id."""

    @property
    def bare(self) -> Bitmap | None:
        """The rows without a vector; None where all have one."""

    def keys(self, rows: Ids) -> list[bytes]:
        """The key of each row's id, b"" for an int."""

    def key_bytes(self, rows: Ids) -> Ids:
        """The lengths of these keys."""

    def key_pieces(self, rows: Ids) -> Iterable[bytes]:
        """These keys, one after the other, in pieces."""

    @property
    def copies(self) -> Copies | None:
        """Of rows that filters let through; None where there are none."""

    def positions(self, ids: Ids) -> Ids:
        """The row of each of `ids`, int64[n], the newest where there are several; −1 for none."""

    def texts(self, rows: Ids) -> list[str]:
        """The JSON text of each row's payload, "" for none."""

    def text_data(self, rows: Ids) -> list[bytes]:
        """The same in UTF-8."""

    def text_bytes(self, rows: Ids) -> Ids:
        """The lengths of these texts in UTF-8."""

    def text_pieces(self, rows: Ids) -> Iterable[bytes]:
        """These texts in UTF-8, one after the other, in pieces."""

    def matching(self, filter: Filter) -> Bitmap:
        """The rows that match, dead ones too, not to be changed; bits past the last row are not set."""

    def columns(self, pause: Callable[[], None]) -> Columns:
        """Of all rows, dead ones too. `pause` is called between pieces of work."""

    @property
    def postings(self) -> Postings:
        """Of the words of all rows, dead ones too."""

    def text_index(self, pause: Callable[[], None]) -> TextIndex:
        """The same, as it is written to a file. `pause` is called between pieces of work."""


@dataclass(frozen=True)
class PartView:
    """A part without its `dead` rows; `live` is how many remain."""

    part: Part
    dead: Bitmap | None
    live: int

    @lazy_property
    def view(self) -> SegmentView:
        """What `search_segments` takes."""
        return SegmentView(self.part.index, self.unsearched, effort=self.part.effort, placed=self.part.placed)

    @lazy_property
    def engine(self) -> core.CollectionPart:
        """What `Snapshot.engine` is made of."""
        return self.part.engine(self.unsearched)

    @lazy_property
    def unsearched(self) -> Bitmap | None:
        """The rows that no search finds: dead ones, and those without a vector."""
        if self.part.bare is None:
            return self.dead
        return bitmaps.united(self.part.bare, self.dead, self.part.rows)

    @lazy_property
    def searched(self) -> int:
        """How many other rows there are."""
        return self.live if self.part.bare is None else self.part.rows - bitmaps.count(self.unsearched)

    def searched_rows(self, begin: int, end: int) -> Ids:
        """The positions of those from `begin`, a multiple of 64, to `end`, ascending."""
        return bitmaps.others(self.unsearched, begin, min(end, self.part.rows))

    def find(self, ids: Ids) -> Ids:
        """The live row of each of `ids`, int64[n]; −1 for none."""
        return self.living(self.part.positions(ids))

    def living(self, rows: Ids) -> Ids:
        """`rows` int64[n] with −1 for those that are dead."""
        return np.where(bitmaps.has(self.dead, rows), -1, rows)

    def matching(self, filter: Filter) -> Bitmap:
        """The live rows that match."""
        return bitmaps.without(self.part.matching(filter), self.dead)

    def alive(self, rows: Ids) -> NDArray[np.bool_]:
        """Which of `rows` int64[n] are not dead, bool[n]; −1 counts as dead."""
        return (rows >= 0) & ~bitmaps.has(self.dead, rows)

    def count(self, filter: Filter) -> int:
        """How many live rows match."""
        found = self._counts.get(filter)
        if found is None:
            if len(self._counts) >= MOST_KEPT:
                self._counts.clear()
            found = self._counts[filter] = bitmaps.count(self.matching(filter))
        return found

    @lazy_property
    def _counts(self) -> dict[Filter, int]:
        return {}

    @property
    def postings(self) -> Postings:
        """Of the words of all rows, dead ones too."""
        return self.part.postings

    @lazy_property
    def text_totals(self) -> tuple[int, int]:
        """How many live rows have words, and how many words these have together."""
        lengths = self.postings.lengths
        gone = lengths[bitmaps.members(self.dead)]
        having = np.count_nonzero(lengths) - np.count_nonzero(gone)
        return int(having), int(lengths.sum(dtype=np.int64) - gone.sum(dtype=np.int64))

    def live_rows(self, begin: int, end: int) -> Ids:
        """The positions of those from `begin`, a multiple of 64, to `end`, ascending."""
        return bitmaps.others(self.dead, begin, min(end, self.part.rows))
