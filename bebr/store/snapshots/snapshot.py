"""What a collection holds at one moment: parts and their dead rows. A search holds one snapshot and no lock.

Every write makes a new snapshot beside the current one (`Draft`), which then takes its place in one assignment. Parts
never change, so both share them; the bitmaps of dead rows are copied when they change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.collection.filter_tree import Filter
from bebr.index.segments import filtered_of, snapshot_of
from bebr.lazy import lazy_property
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap
from bebr.store.files.kept import Keeping, Rows
from bebr.store.snapshots.group_columns import grouped_of
from bebr.store.snapshots.part import Part, PartView
from bebr.store.snapshots.plans import Allowed, Plans


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

    @lazy_property
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

    @lazy_property
    def by_model(self) -> tuple[tuple[Binarizer, tuple[PartView, ...]], ...]:
        """The parts that have live rows, by the model of their codes: one, but during a migration."""
        groups: dict[str, list[PartView]] = {}
        for view in self.parts:
            if view.live:
                groups.setdefault(view.part.index.binarizer.digest, []).append(view)
        return tuple((views[0].part.index.binarizer, tuple(views)) for views in groups.values())

    @lazy_property
    def engine(self) -> core.CollectionSnapshot | None:
        """What answers searches of the model of all rows, `by_model[0][0]`. None without rows and during a migration,
        where exact scores are taken in another space than the one vectors are kept in, and where a device searches some
        of the rows."""
        if len(self.by_model) != 1:
            return None
        bz, views = self.by_model[0]
        if any(view.part.placed is not None for view in views):
            return None
        keeping = self.tail.part.keeping
        if keeping is not None and bz.has_adapter:
            return None
        return snapshot_of(
            bz,
            [view.engine for view in views],
            sum(view.live for view in views),
            None if keeping is None else keeping.kind,
            self.candidates,
        )

    @lazy_property
    def candidates(self) -> core.Candidates:
        """How many rows get exact scores where a search does not say, as far as that was measured of its files."""
        needed = [(view.searched, view.part.rescored) for view in self.parts]
        return core.Candidates([(rows, [] if by_k is None else list(by_k)) for rows, by_k in needed])

    @lazy_property
    def all_scored(self) -> bool:
        """Whether rows that keep vectors are so few that all of them get exact scores, where a search does not say. To
        look for each in the parts, one by one, takes longer, so that these have to be fewer."""
        rows = len(self)
        return rows <= core.exact_rows if self.engine is None else core.scores_all(rows, self.keeping.row_bytes)

    def filtered(self, filter: Filter, few: bool) -> core.FilteredSnapshot | None:
        """What answers searches of the rows that match, of few queries or of many, as Python does: what it reads is
        what they read. None as long as that is not settled, where it was given up, and where there is no `engine`."""
        engine = self.engine
        if engine is None:
            return None
        ready = self.plans.ready(filter, few)
        if ready is not None:
            return ready
        model, views = self.by_model[0]

        def made(plan: Allowed) -> core.FilteredSnapshot:
            return filtered_of(engine, plan.views, plan.candidates, [view.part.matching(filter) for view in views])

        return self.plans.engine((model.digest, filter, few), made)

    def grouped(self, filter: Filter | None, by: str) -> core.GroupedSnapshot | None:
        """What answers searches in groups by a field, of all rows or those that match. None where there is no `engine`,
        where the columns of payloads do not say what values rows have there, and the first time that somebody asks: to
        look at the columns of all rows costs more than at the payloads of one search's hits."""
        engine = self.engine
        if engine is None:
            return None
        views = self.by_model[0][1]
        return self.plans.grouped((filter, by), lambda: grouped_of(engine, views, filter, by))

    def matching(self, filter: Filter) -> tuple[Bitmap, ...]:
        """The live rows of each of `parts` that match. Answers to the last filters are kept with the parts."""
        return tuple(view.matching(filter) for view in self.parts)

    def count(self, filter: Filter | None) -> int:
        """How many rows match, or there are."""
        return len(self) if filter is None else sum(view.count(filter) for view in self.parts)

    @lazy_property
    def plans(self) -> Plans:
        """What its searches read for filters that come again."""
        return Plans()

    @lazy_property
    def keyed(self) -> bool:
        """Whether a row may have a key beside its number."""
        return any(view.part.keyed for view in self.parts if view.live)

    @lazy_property
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
    a snapshot, as far as they have a vector at all. `former`: they are those that a cutover kept."""

    rows: Snapshot
    waiting: Callable[[Snapshot], Snapshot]
    former: bool = False
