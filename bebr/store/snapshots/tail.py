"""The live end of a collection: rows since the last seal, in memory. The catalog's journal rebuilds it after a crash.

One thread appends; any number read, each the rows that were there when its part was made. An id that is written again
gets a new row; the snapshot says that its old one is dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from bebr import core
from bebr.arrays import Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import places_of
from bebr.index import FlatIndex
from bebr.index.segments import ByK, TailRows
from bebr.lazy import lazy_property
from bebr.store.columns.table import Columns, nothing
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap, Bools
from bebr.store.files.kept import Keeping, KeptBlocks, Rows
from bebr.store.snapshots.growing import GrowingColumns
from bebr.store.text.growing import GrowingText, GrowingView
from bebr.store.text.index import TextIndex


class Tail:
    """Rows in the order they came. `append` and `part` are for one thread; once a call of them has failed, the tail is
    of no further use, but the parts made before stay good."""

    def __init__(self, bz: Binarizer, keeping: Keeping | None = None, text: Sequence[str] = ()) -> None:
        self.bz, self.keeping = bz, keeping
        self._rows = TailRows(bz)
        self._texts = core.GrowingTexts()  # UTF-8, a payload a row
        self._kept = None if keeping is None else KeptBlocks(keeping.row_bytes)
        self.columns = GrowingColumns(self._texts)
        self.words = GrowingText(self._texts.__getitem__, text)
        self._keys = core.GrowingTexts()
        self.bare: Bitmap | None = None
        """The rows without a vector. Replaced, never changed."""
        self.keyed = self.moved = False
        """Whether a row has a key; whether one is not at the first place of its id."""
        self.measured = 0
        """Of how many rows `rescored` was measured last."""
        self.rescored: ByK | None = None
        """How many of the best by code get exact scores (`Part.rescored`)."""

    @property
    def rows(self) -> int:
        return len(self._texts)

    def append(
        self,
        ids: Ids,
        codes: Codes,
        texts: Sequence[str],
        kept: Rows | None = None,
        keys: Sequence[bytes] | None = None,
        bare: Bools | None = None,
    ) -> None:
        """Adds rows of distinct `ids` int64[n]; `texts`: a payload each, "" for none, or an empty sequence; `kept`:
        their vectors, where the tail keeps them; `keys`: b"" for none, or no keys at all;
        `bare`: which have no vector, or None."""
        if self._kept is not None:
            assert kept is not None
            self._kept.append(kept)
        if bare is not None:
            self.bare = bitmaps.resized(self.bare, self.rows + len(ids))
            bitmaps.add(self.bare, self.rows + np.flatnonzero(bare))
        self._rows.append(codes, ids)
        if keys:
            self._keys.append(keys)
            self.keyed = self.keyed or any(keys)
            has = np.fromiter(map(bool, keys), np.bool_, len(keys))
            self.moved = self.moved or bool((has & (places_of(keys) != ids)).any())
        else:
            self._keys.append_empty(len(ids))
        if texts:
            self._texts.append([text.encode() for text in texts])
        else:
            self._texts.append_empty(len(ids))

    def newest(self, ids: Ids) -> Ids:
        """The newest row of each of `ids`, int64[n]; −1 for none."""
        return self._rows.positions(ids)

    def texts(self, rows: Ids) -> list[bytes]:
        """In one step of Python's: it may be called for many rows while searches want to go on."""
        return self._texts.take(rows)

    def text_bytes(self, rows: Ids) -> Ids:
        """The lengths of these, int64[n]."""
        return self._texts.lengths(rows)

    def keys(self, rows: Ids) -> list[bytes]:
        """b"" for none."""
        return self._keys.take(rows)

    def key_bytes(self, rows: Ids) -> Ids:
        """The lengths of these, int64[n]."""
        return self._keys.lengths(rows)

    def kept(self, rows: Ids) -> Rows:
        """The vectors of these rows as they are stored."""
        assert self._kept is not None
        return self._kept.take(rows)

    def engine(self, frozen: FlatIndex, hidden: Bitmap | None, keyed: bool) -> core.CollectionPart:
        """The rows of a part of it but the `hidden` ones."""
        kept = () if self._kept is None else self._kept.blocks
        return self._rows.part(frozen, hidden, kept, self._texts, self._keys if keyed else None)

    def part(self) -> TailPart:
        """The rows so far."""
        return TailPart(self, self.rows, self._rows.freeze())


class TailPart:
    """The first `rows` rows of a tail. Immutable."""

    row = None  # it has no file
    copies = None
    effort = placed = None

    def __init__(self, tail: Tail, rows: int, index: FlatIndex) -> None:
        self._tail, self.rows, self.index = tail, rows, index
        self.keeping, self.keyed, self.moved = tail.keeping, tail.keyed, tail.moved
        self.bare, self.rescored = tail.bare, tail.rescored

    @property
    def origin(self) -> object:
        """The tail."""
        return self._tail

    def positions(self, ids: Ids) -> Ids:
        """The newest row of each of `ids`, int64[n]; −1 for none."""
        found = self._tail.newest(ids)
        later = found >= self.rows  # written again since
        if later.any():
            found[later] = self.index.positions(ids[later])
        return found

    def keys(self, rows: Ids) -> list[bytes]:
        """The key of each row's id, b"" for an int."""
        return self._tail.keys(rows)

    def key_bytes(self, rows: Ids) -> Ids:
        """The lengths of these keys, int64[n]."""
        return self._tail.key_bytes(rows)

    def key_pieces(self, rows: Ids) -> Iterable[bytes]:
        """These keys."""
        return self._tail.keys(rows)

    def kept(self, rows: Ids) -> Rows:
        """The vectors of these rows as they are stored."""
        return self._tail.kept(rows)

    def engine(self, hidden: Bitmap | None) -> core.CollectionPart:
        """Its rows but the `hidden` ones, for a search that is no Python."""
        return self._tail.engine(self.index, hidden, self.keyed)

    def texts(self, rows: Ids) -> list[str]:
        """The JSON text of each row's payload, "" for none."""
        return [text.decode() for text in self._tail.texts(rows)]

    def text_data(self, rows: Ids) -> list[bytes]:
        """The same in UTF-8."""
        return self._tail.texts(rows)

    def matching(self, filter: Filter) -> Bitmap:
        """The rows that match, dead ones too, not to be changed."""
        return self._tail.columns.matching(filter, self.rows)

    def columns(self, pause: Callable[[], None]) -> Columns:
        """Of all rows. `pause` is called between pieces of work."""
        return self._tail.columns.columns(self.rows, pause)

    @lazy_property
    def postings(self) -> GrowingView:
        """Of the words of all rows."""
        return self._tail.words.read(self.rows, nothing)

    def text_index(self, pause: Callable[[], None]) -> TextIndex:
        """The same, as it is written to a file. `pause` is called between pieces of work."""
        return self._tail.words.read(self.rows, pause).index()

    def text_bytes(self, rows: Ids) -> Ids:
        """The lengths of these texts in UTF-8, int64[n]."""
        return self._tail.text_bytes(rows)

    def text_pieces(self, rows: Ids) -> Iterable[bytes]:
        """These texts in UTF-8."""
        return self._tail.texts(rows)
