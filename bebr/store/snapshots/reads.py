"""Rows of a snapshot, by id and in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.collection.checks import load_payload
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Named
from bebr.collection.protocol import Row
from bebr.store.files import bitmaps
from bebr.store.snapshots.keys import ids_of, resolve
from bebr.store.snapshots.part import PartView
from bebr.store.snapshots.snapshot import Snapshot

# Places of a part's order that are looked at together while its dead rows are passed over.
_PIECE, _LARGEST_PIECE = 1024, 1 << 20


def read_rows(snapshot: Snapshot, bz: Binarizer, ids: Ids, payloads: bool, vectors: bool) -> list[Row]:
    """The rows of the numbers `ids` int64[n], which are all there; without payloads or vectors where these are not
    asked for."""
    texts = snapshot.payload_texts(ids) if payloads else [""] * len(ids)
    floats = read_vectors(snapshot, bz, ids) if vectors else None
    bare = snapshot.bare(ids)
    return [
        Row(id, load_payload(text), None if floats is None or bare[i] else floats[i])
        for i, (id, text) in enumerate(zip(ids_of(snapshot, ids), texts, strict=True))
    ]


def read_vectors(snapshot: Snapshot, bz: Binarizer, ids: Ids) -> Floats:
    """The vectors of distinct `ids` int64[n], which are all there: as they are kept, float32[n, input_dim], or what
    their codes stand for, float32[n, inner_dim]."""
    if len(ids) == 0:
        return np.empty((0, vector_dim(snapshot, bz)), np.float32)
    return snapshot.vectors(ids) if snapshot.keeps else bz.reconstructed(snapshot.codes(ids, bz))


def vector_dim(snapshot: Snapshot, bz: Binarizer) -> int:
    """The dimensions of such a vector."""
    return bz.input_dim if snapshot.keeps else bz.inner_dim


def ids_after(snapshot: Snapshot, last: Named | None, count: int, filter: Filter | None = None) -> Ids:
    """The next `count` numbers of rows in ascending order, fewer at the end; only of rows that match: after that of the
    id `last`, or after its place where it is gone. Its cost goes by `count` and the number of parts: each part finds
    its rows in the order of their numbers (the first call may have to make it)."""
    after = -1
    if last is not None:
        after = int(resolve(snapshot, last)[0])
        after = int(last.numbers[0]) if after < 0 else after
    found = [np.fromiter(_live_after(view, after, count, filter), np.int64) for view in snapshot.parts if view.live]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))[:count]


def _live_after(view: PartView, after: int, count: int, filter: Filter | None) -> Iterator[int]:
    """Up to `count` ids of live rows above `after`, ascending."""
    index, skip, left, size = view.part.index, 0, count, max(count, _PIECE)
    wanted = None if filter is None else view.matching(filter)
    while left:
        rows = index.following(after, size, skip)
        live = rows[view.alive(rows) if wanted is None else bitmaps.has(wanted, rows)][:left]
        yield from index.ids[live].tolist()
        left -= len(live)
        skip += size
        if len(rows) < size:
            return
        size = min(2 * size, _LARGEST_PIECE)  # few match, or are alive
