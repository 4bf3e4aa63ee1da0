"""What a collection holds at one moment: parts and their dead rows. A search holds one snapshot and no lock.

Every write makes a new snapshot beside the current one (`Draft`), which then takes its place in one assignment. Parts
never change, so both share them; the bitmaps of dead rows are copied when they change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.collection.filter_tree import Filter
from bebr.index import Index
from bebr.index.segments import Effort, SegmentView, snapshot_of
from bebr.store import bitmaps
from bebr.store.bitmaps import Bitmap, Bools
from bebr.store.columns.table import Columns
from bebr.store.copies import Copies
from bebr.store.kept import Keeping, Rows
from bebr.store.matching import MOST_KEPT
from bebr.store.plans import Plans
from bebr.store.records import SegmentRow
from bebr.store.tail import Tail
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
    def origin(self) -> object:
        """What it is the beginning of: a tail, of which later parts have more rows, or itself."""

    @property
    def keeping(self) -> Keeping | None:
        """Of the vectors that it keeps; None where there are none."""

    def kept(self, rows: Ids) -> Rows:
        """The vectors of these rows as they are stored."""

    @property
    def apart(self) -> bool:
        """Whether kept vectors stand in an order of their own, as in an attached file."""

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

    @cached_property
    def view(self) -> SegmentView:
        """What `search_segments` takes."""
        return SegmentView(self.part.index, self.unsearched, effort=self.part.effort)

    @cached_property
    def engine(self) -> core.CollectionPart:
        """What `Snapshot.engine` is made of."""
        return self.part.engine(self.unsearched)

    @cached_property
    def unsearched(self) -> Bitmap | None:
        """The rows that no search finds: dead ones, and those without a vector."""
        if self.part.bare is None:
            return self.dead
        return bitmaps.united(self.part.bare, self.dead, self.part.rows)

    @cached_property
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
        return _without(self.part.matching(filter), self.dead)

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

    @cached_property
    def _counts(self) -> dict[Filter, int]:
        return {}

    @property
    def postings(self) -> Postings:
        """Of the words of all rows, dead ones too."""
        return self.part.postings

    @cached_property
    def text_totals(self) -> tuple[int, int]:
        """How many live rows have words, and how many words these have together."""
        lengths = self.postings.lengths
        gone = lengths[bitmaps.members(self.dead)]
        having = np.count_nonzero(lengths) - np.count_nonzero(gone)
        return int(having), int(lengths.sum(dtype=np.int64) - gone.sum(dtype=np.int64))

    def live_rows(self, begin: int, end: int) -> Ids:
        """The positions of those from `begin`, a multiple of 64, to `end`, ascending."""
        return bitmaps.others(self.dead, begin, min(end, self.part.rows))


@dataclass(frozen=True)
class Snapshot:
    """`version`: of the last write that shows. Of an id at most one row is alive, in all parts together. `bz`: the
    model that its queries are for, unless they say another. `collection`: the catalog's number of it. `successor`: of a
    collection that another producer's vectors are being streamed to."""

    version: int
    segments: tuple[PartView, ...]
    tail: PartView
    bz: Binarizer
    collection: int
    successor: Successor | None = None

    @cached_property
    def parts(self) -> tuple[PartView, ...]:
        return (*self.segments, self.tail)

    def __len__(self) -> int:
        return sum(view.live for view in self.parts)

    @property
    def behind(self) -> Snapshot:
        """The rows that wait for a vector of another producer. ValueError where none are being streamed."""
        if self.successor is None:
            raise ValueError("behind is True, but no vectors are being streamed: begin with migrate(bz, vectors=...)")
        return self.successor.waiting(self)

    @property
    def searched(self) -> int:
        """How many rows have a vector."""
        return sum(view.searched for view in self.parts)

    @cached_property
    def by_model(self) -> tuple[tuple[Binarizer, tuple[PartView, ...]], ...]:
        """The parts that have live rows, by the model of their codes: one, but during a migration."""
        groups: dict[str, list[PartView]] = {}
        for view in self.parts:
            if view.live:
                groups.setdefault(view.part.index.binarizer.digest, []).append(view)
        return tuple((views[0].part.index.binarizer, tuple(views)) for views in groups.values())

    @cached_property
    def engine(self) -> core.CollectionSnapshot | None:
        """What answers searches of the model of all rows, `by_model[0][0]`. None without rows and during a migration,
        and where exact scores are taken in another space than the one vectors are kept in, or from an attached file."""
        if len(self.by_model) != 1:
            return None
        bz, views = self.by_model[0]
        keeping = self.tail.part.keeping
        if keeping is not None and (bz.has_adapter or any(view.part.apart for view in views)):
            return None
        return snapshot_of(
            bz,
            [view.engine for view in views],
            sum(view.live for view in views),
            None if keeping is None else keeping.kind,
        )

    def matching(self, filter: Filter) -> tuple[Bitmap, ...]:
        """The live rows of each of `parts` that match. Answers to the last filters are kept with the parts."""
        return tuple(view.matching(filter) for view in self.parts)

    def count(self, filter: Filter | None) -> int:
        """How many rows match, or there are."""
        return len(self) if filter is None else sum(view.count(filter) for view in self.parts)

    @cached_property
    def plans(self) -> Plans:
        """What its searches read for filters that come again."""
        return Plans()

    @cached_property
    def keyed(self) -> bool:
        """Whether a row may have a key beside its number."""
        return any(view.part.keyed for view in self.parts if view.live)

    @cached_property
    def moved(self) -> bool:
        """Whether a row may not be at the first place of its id."""
        return any(view.part.moved for view in self.parts if view.live)

    def missing(self, ids: Ids) -> Ids:
        """Which of `ids` int64[n] have no row, ascending, each once."""
        ids = np.unique(ids)
        for view in self.parts:
            ids = ids[view.find(ids) < 0]
        return ids

    def present(self, ids: Ids) -> Ids:
        """Which of `ids` int64[n] have a row, ascending, each once."""
        ids = np.unique(ids)
        return ids[~np.isin(ids, self.missing(ids))]

    def payload_texts(self, ids: Ids) -> list[str]:
        """The payload of each of `ids` int64[n] as JSON text, "" for none and where there is no such row. Each id is
        read once, however often it comes."""
        distinct, places = np.unique(ids, return_inverse=True)
        texts = [""] * len(distinct)
        for part, rows, at in self.located(distinct):
            for i, text in zip(at.tolist(), part.texts(rows), strict=True):
                texts[i] = text
        return [texts[i] for i in places.tolist()]

    def bare(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of distinct `ids` int64[n] have a row without a vector."""
        found = np.zeros(len(ids), np.bool_)
        if any(view.part.bare is not None for view in self.parts):
            for part, rows, at in self.located(ids):
                found[at] = bitmaps.has(part.bare, rows)
        return found

    @property
    def keeps(self) -> bool:
        """Whether vectors are kept."""
        return self.tail.part.keeping is not None

    @property
    def keeping(self) -> Keeping:
        """How vectors are kept. ValueError where they are not."""
        keeping = self.tail.part.keeping
        if keeping is None:
            raise ValueError("this collection keeps no vectors: create it with keep='float16' or 'int8'")
        return keeping

    def vectors(self, ids: Ids) -> Floats:
        """The kept vector of each of `ids` int64[n], float32[n, d], for cosine of unit length; NaN where there is no
        such row. ValueError where none are kept."""
        distinct, places = np.unique(ids, return_inverse=True)
        rows, there = self.kept(distinct)
        vectors = self.keeping.vectors(rows)
        vectors[~there] = np.nan
        return vectors[places]

    def kept(self, ids: Ids) -> tuple[Rows, NDArray[np.bool_]]:
        """What is stored of the vectors of distinct `ids` int64[n], and which of them there are."""
        rows = np.zeros((len(ids), self.keeping.row_bytes), np.uint8)
        there = np.zeros(len(ids), np.bool_)
        for part, found, at in self.located(ids):
            if len(at):
                rows[at] = part.kept(found)
                there[at] = True
        return rows, there

    def payload_bytes(self, ids: Ids) -> Ids:
        """The length of each of these texts in UTF-8, int64[n], without reading them."""
        distinct, places = np.unique(ids, return_inverse=True)
        lengths = np.zeros(len(distinct), np.int64)
        for part, rows, at in self.located(distinct):
            lengths[at] = part.text_bytes(rows)
        return lengths[places]

    def codes(self, ids: Ids, bz: Binarizer) -> Codes:
        """The codes of distinct `ids` int64[n], all of which are there: copies, and where they are another model's than
        `bz`, made anew of the vectors that are kept."""

        def of(part: Part, rows: Ids, at: Ids) -> Codes:
            if part.index.binarizer.digest == bz.digest:
                return part.index.codes(ids[at])[0]
            return bz.encode(self.keeping.vectors(part.kept(rows)))

        pieces = [(of(part, rows, at), at) for part, rows, at in self.located(ids) if len(at)]
        order = np.argsort(np.concatenate([at for _, at in pieces]))
        planes = np.concatenate([codes.planes for codes, _ in pieces])
        return Codes(planes[order], np.concatenate([codes.factors for codes, _ in pieces])[order])

    def located(self, ids: Ids) -> Iterator[tuple[Part, Ids, Ids]]:
        """Parts, rows of them, and which of the distinct `ids` int64[n] these are."""
        left = np.arange(len(ids))
        for view in self.parts:
            rows = view.find(ids[left])
            here = rows >= 0
            yield view.part, rows[here], left[here]
            left = left[~here]


@dataclass(frozen=True)
class Successor:
    """`rows`: those that have a vector of another producer, under their own numbers; `waiting(snapshot)`: the others of
    a snapshot, as far as they have a vector at all."""

    rows: Snapshot
    waiting: Callable[[Snapshot], Snapshot]


class Draft:
    """The snapshot that follows `snapshot`. It appends to `tail`, of which `snapshot.tail` shows all rows, and changes
    nothing else: given up, it costs the tail only."""

    def __init__(self, snapshot: Snapshot, tail: Tail) -> None:
        self._snapshot = snapshot
        self._tail = tail
        self._dead: list[Bitmap | None] = [
            view.dead for view in snapshot.parts
        ]  # replaced by copies before they change
        self._lost = [0] * len(self._dead)

    @property
    def collection(self) -> int:
        """The catalog's number of the collection."""
        return self._snapshot.collection

    @property
    def tail(self) -> Tail:
        """What it appends to."""
        return self._tail

    @property
    def keyed(self) -> bool:
        """Whether a row may have a key beside its number."""
        return self._snapshot.keyed or self._tail.keyed

    def upsert(
        self,
        ids: Ids,
        codes: Codes,
        texts: Sequence[str],
        known: Mapping[Part, Ids],
        kept: Rows | None = None,
        keys: Sequence[bytes] | None = None,
        bare: Bools | None = None,
    ) -> None:
        """Adds rows of distinct `ids` int64[n], in codes of the tail's model, and removes those they replace. `known`:
        as in `remove`; `kept`, `keys` and `bare`: as in `Tail.append`."""
        self.remove(ids, known)
        self._tail.append(ids, codes, texts, kept, keys, bare)

    def remove(self, ids: Ids, known: Mapping[Part, Ids]) -> Ids:
        """Removes rows; returns which of distinct `ids` int64[n] there were. `known`: the positions of `ids` in some
        parts, which may have been looked up beforehand."""
        present = np.zeros(len(ids), np.bool_)
        for number, view in enumerate(self._snapshot.segments):
            if view.live > self._lost[number]:
                rows = known.get(view.part)
                present |= self._kill(number, view.part.rows, view.part.positions(ids) if rows is None else rows)
        present |= self._kill(-1, self._tail.rows, self._tail.newest(ids))
        return ids[present]

    def matching(self, filter: Filter) -> Ids:
        """The ids of the rows that match, int64[n]."""
        parts = [*(view.part for view in self._snapshot.segments), self._tail.part()]
        found = [_without(part.matching(filter), dead) for part, dead in zip(parts, self._dead, strict=True)]
        return np.concatenate([part.index.ids[bitmaps.members(rows)] for part, rows in zip(parts, found, strict=True)])

    def _kill(self, number: int, size: int, rows: Ids) -> NDArray[np.bool_]:
        """Marks rows of a part of `size` rows; returns which were alive. Entries of −1 are passed over."""
        dead = self._dead[number]
        alive = (rows >= 0) & ~bitmaps.has(dead, rows)
        killed = int(np.count_nonzero(alive))
        if killed:
            if dead is None or dead is self._snapshot.parts[number].dead or len(dead) < bitmaps.words(size):
                self._dead[number] = dead = bitmaps.resized(dead, size)
            bitmaps.add(dead, rows[alive])
            self._lost[number] += killed
        return alive

    def finish(self) -> Snapshot:
        """The snapshot with all that was added and removed. Its version is still that of the one before."""
        before = self._snapshot
        segments = tuple(
            PartView(view.part, dead, view.live - lost) if lost else view
            for view, dead, lost in zip(before.segments, self._dead, self._lost, strict=False)
        )
        part, dead = before.tail.part, self._dead[-1]
        if part.rows < self._tail.rows:
            part = self._tail.part()
            if dead is not None and len(dead) < bitmaps.words(part.rows):
                dead = bitmaps.resized(dead, part.rows)
        live = before.tail.live + part.rows - before.tail.part.rows - self._lost[-1]
        return replace(before, segments=segments, tail=PartView(part, dead, live))


def _without(rows: Bitmap, dead: Bitmap | None) -> Bitmap:
    """Those of `rows` that are not dead."""
    return rows if dead is None else rows & ~bitmaps.resized(dead, 64 * len(rows))
