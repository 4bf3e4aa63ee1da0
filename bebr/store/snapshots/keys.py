"""Which rows of a snapshot ids stand for, which numbers new ids get, and how rows are called.

The rows of a part have numbers, and beside them keys where it is `keyed`. A part is `moved` where a row's number is not
the first that its id may have: as long as none is, one look finds an id.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.collection.keys import FIRST_PLACE, PLACES, Id, Named, int_key, places_of
from bebr.errors import LimitExceeded
from bebr.store.snapshots.part import Part
from bebr.store.snapshots.snapshot import Snapshot


def resolve(snapshot: Snapshot, ids: Named) -> Ids:
    """The numbers of the rows of n ids, int64[n]; -1 for an id that is not there, where more than its number decides
    that."""
    if _plain(snapshot, ids):
        return ids.numbers
    found = np.where(_owners(snapshot, ids, {})[0], ids.numbers, -1)
    if snapshot.moved:
        for attempt in range(1, PLACES):
            left = np.flatnonzero(found < 0)
            other = _elsewhere(ids[left], attempt)
            found[left] = np.where(_owners(snapshot, other, {})[0], other.numbers, -1)
    return found


def place(snapshot: Snapshot, ids: Named, known: Mapping[Part, Ids]) -> Named:
    """Distinct `ids` with the numbers under which their rows are to be written, and the keys that they need there.
    `known`: the positions of `ids.numbers` in some parts. LimitExceeded where an id finds no place."""
    if _plain(snapshot, ids):
        return ids
    own, taken = _owners(snapshot, ids, known)
    numbers = ids.numbers.copy()
    if snapshot.moved:
        there = resolve(snapshot, ids)
        numbers, own = np.where(there >= 0, there, numbers), there >= 0
    firsts, counts = np.unique(numbers, return_counts=True)
    doubtful = ~own & (taken | np.isin(numbers, firsts[counts > 1]))
    if not snapshot.moved and not doubtful.any():
        return ids
    keys = list(ids.keys) if ids.keys is not None else [b""] * len(ids)
    if own.any() and snapshot.moved:
        for row in np.flatnonzero(own & (numbers != ids.numbers)).tolist():
            keys[row] = keys[row] or int_key(int(ids.numbers[row]))
    used = set(numbers[~doubtful].tolist())
    for row in np.flatnonzero(doubtful).tolist():
        numbers[row], keys[row] = _free(snapshot, ids[row : row + 1], used)
        used.add(int(numbers[row]))
    return Named(numbers, keys)


def _free(snapshot: Snapshot, one: Named, used: set[int]) -> tuple[int, bytes]:
    """A number that no row has, for an id that is not there, and the key that it needs with it."""
    for attempt in range(PLACES):
        other = one if attempt == 0 else _elsewhere(one, attempt)
        number = int(other.numbers[0])
        if number not in used and len(snapshot.missing(other.numbers)):
            return number, other.key(0)
    raise LimitExceeded(f"id {one.ids()[0]!r} finds no place: {PLACES} other ids have its hash; choose another id")


def _plain(snapshot: Snapshot, ids: Named) -> bool:
    """Whether these are ints that no key can have displaced."""
    return ids.keys is None and (not snapshot.keyed or len(ids) == 0 or int(ids.numbers.max()) < FIRST_PLACE)


def _elsewhere(ids: Named, attempt: int) -> Named:
    """The same ids at a later place, with the keys that they have there."""
    keys = [ids.key(row) or int_key(number) for row, number in enumerate(ids.numbers.tolist())]
    return Named(places_of(keys, attempt), keys)


def _owners(snapshot: Snapshot, ids: Named, known: Mapping[Part, Ids]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a row has one of `ids.numbers`: whether it is of that id, and whether it is of another."""
    own, taken = np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.bool_)
    for view in snapshot.parts:
        if not view.live:
            continue
        rows = view.living(known[view.part]) if view.part in known else view.find(ids.numbers)
        at = np.flatnonzero(rows >= 0)
        keys = view.part.keys(rows[at]) if view.part.keyed else [b""] * len(at)
        same = np.fromiter((key == ids.key(i) for key, i in zip(keys, at.tolist(), strict=True)), np.bool_, len(at))
        own[at], taken[at] = same, ~same
    return own, taken


def keys_of(snapshot: Snapshot, numbers: Ids) -> list[bytes] | None:
    """The keys of rows by their numbers int64[n], b"" for none and where there is no such row; None where no row of the
    snapshot has one."""
    if not snapshot.keyed:
        return None
    distinct, places = np.unique(numbers, return_inverse=True)
    found = [b""] * len(distinct)
    for part, rows, at in snapshot.located(distinct):
        if part.keyed:
            for i, key in zip(at.tolist(), part.keys(rows), strict=True):
                found[i] = key
    return [found[i] for i in places.tolist()]


def ids_of(snapshot: Snapshot, numbers: Ids) -> list[Id]:
    """The ids of rows by their numbers int64[n]."""
    return Named(numbers, keys_of(snapshot, numbers)).ids()
