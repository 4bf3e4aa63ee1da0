"""Which rows of a collection have their vector of the model that it is being migrated to, while vectors are streamed.

Such vectors make rows of a *successor*, a collection that only the catalog names; each has the number, the key and the
payload of the row that it is for. A write of a row removes it there, in the same commit; so a row has a new vector as
long as the successor has its number, and a vector with it: rows of a successor stand without one where a cutover took
them over so (`bare`), or the collection had them so.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

import numpy as np

from bebr.arrays import Ids
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap
from bebr.store.snapshots.part import Part, PartView
from bebr.store.snapshots.snapshot import Snapshot


class Coverage:
    """Bitmaps of these rows, part by part, made when somebody asks and then kept up by what was written since.

    A row that is alive and has a new vector keeps it, so bits are only ever added. `note` is for the writing thread;
    any number of threads may ask.
    """

    def __init__(self) -> None:
        self._log: list[Ids] = []  # numbers that the successor got, in order
        self._lock = threading.Lock()  # over the rest
        self._there = _Covered(self._log, Snapshot.present)
        self._coded = _Covered(self._log, _with_vector)
        self._last: tuple[Snapshot, Snapshot] | None = None

    def note(self, ids: Ids) -> None:
        """The successor has rows of these numbers now."""
        self._log.append(ids)

    @property
    def noted(self) -> int:
        """How many notes there are: with a snapshot of the successor, what it covers."""
        return len(self._log)

    def waiting(self, snapshot: Snapshot, new: Snapshot, noted: int) -> Snapshot:
        """The rows of a snapshot that have a vector, but none in the successor as of `new` and so many notes."""
        with self._lock:
            if self._last is None or self._last[0] is not snapshot:
                views = [self._rest(view, new, noted) for view in snapshot.parts]
                rest = Snapshot(snapshot.version, tuple(views[:-1]), views[-1], snapshot.bz, snapshot.collection)
                self._last = snapshot, rest
            return self._last[1]

    def absent(self, snapshot: Snapshot, new: Snapshot, noted: int) -> Ids:
        """The numbers of the rows that are not in the successor at all, int64[n]."""
        found = [np.empty(0, np.int64)]
        with self._lock:
            for view in snapshot.parts:
                if view.live:
                    there = self._there.bits(view.part, new, noted)
                    rows = view.live_rows(0, view.part.rows)
                    found.append(view.part.index.ids[rows[~bitmaps.has(there, rows)]])
        return np.concatenate(found)

    def _rest(self, view: PartView, new: Snapshot, noted: int) -> PartView:
        if not view.live:
            return view
        gone = bitmaps.united(view.unsearched, self._coded.bits(view.part, new, noted), view.part.rows)
        return PartView(view.part, gone, view.part.rows - bitmaps.count(gone))


def _with_vector(new: Snapshot, ids: Ids) -> Ids:
    """Which of `ids` have a row with a vector there."""
    found = new.present(ids)
    return found[~new.bare(found)]


class _Covered:
    """A bit a row of each part: whether the successor has its number, in a way that `among` tells of a snapshot and
    numbers."""

    def __init__(self, log: list[Ids], among: Callable[[Snapshot, Ids], Ids]) -> None:
        self._log, self._among = log, among
        self._known: weakref.WeakKeyDictionary[object, tuple[int, Bitmap]] = weakref.WeakKeyDictionary()

    def bits(self, part: Part, new: Snapshot, noted: int) -> Bitmap:
        at, bits = self._known.get(part.origin, (0, None))
        if bits is None or at > noted:  # unknown, or of a later moment than was asked for
            ids = part.index.ids
            made = bitmaps.of_bools(np.isin(ids, self._among(new, ids)))
        elif at == noted and len(bits) == bitmaps.words(part.rows):
            return bits
        else:
            made = bitmaps.resized(bits, part.rows)
            later = self._among(new, np.concatenate([np.empty(0, np.int64), *self._log[at:noted]]))
            rows = part.positions(later)
            bitmaps.add(made, rows[rows >= 0])
        if at <= noted:
            self._known[part.origin] = noted, made
        return made
