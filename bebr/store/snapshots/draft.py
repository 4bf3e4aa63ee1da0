"""The next snapshot of a collection, while writes make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.binarizer.codes import Codes
from bebr.collection.filter_tree import Filter
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap, Bools
from bebr.store.files.kept import Rows
from bebr.store.snapshots.part import Part, PartView
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.snapshots.tail import Tail


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
        found = [bitmaps.without(part.matching(filter), dead) for part, dead in zip(parts, self._dead, strict=True)]
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
