"""A migration by vectors that another producer makes: what takes them, and how writes keep it true.

The new vectors make rows of a successor (`bebr.store.catalog.successors`). Every write of the collection is followed,
in the same commit, by one of the successor: what is written anew or removed has no new vector any more, and new
payloads are new there too. So both are true at any moment, after a kill as well, and one takes the place of the other
in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.collection.checks import check_none_behind
from bebr.collection.keys import Named
from bebr.store.snapshots.snapshot import Snapshot, Successor
from bebr.store.upkeep.coverage import Coverage
from bebr.store.writes.change import AnyChange, Change, FoundChange, PayloadChange, StreamChange
from bebr.store.writes.current import Current
from bebr.store.writes.writer import Target

# Rows without a vector that are carried over between two writes.
_PIECE = 4096


class Heir(Target, Protocol):
    """The contents of the collection that is to take the place of another."""

    @property
    def current(self) -> Current: ...

    @property
    def merging(self) -> bool:
        """Whether files are being merged, or are to be."""

    def flush(self) -> None:
        """Seals its rows in memory."""

    def end_load(self) -> None:
        """Has large merges done at once, however many rows came of late."""

    def merge_all(self) -> None:
        """Merges its files until nothing is due."""

    def close(self, reason: Exception) -> None:
        """Waits for its writes, then takes no more."""


class Streaming:
    """The `heir` of a collection, and which of its rows that has. All but `bz`, `change` and `check` is for the
    writing thread."""

    def __init__(self, heir: Heir) -> None:
        self.heir = heir
        self._coverage = Coverage()
        self._tail: object = None
        self._seen = 0  # rows of the tail that the coverage knows of

    @property
    def bz(self) -> Binarizer:
        """The model of the new vectors."""
        return self.heir.current.state.bz

    def change(self, ids: Named, vectors: Floats) -> StreamChange:
        """Vectors float32[n, d] for rows of distinct `ids`, coded."""
        bz, keeping = self.bz, self.heir.current.state.keeping
        kept = None if keeping is None else keeping.stored(vectors)
        return StreamChange(ids.numbers.copy(), bz.encode(vectors), bz.digest, kept, ids.keys)

    def check(self, model: str) -> None:
        """ValueError unless vectors for that model are being streamed."""
        if model != self.bz.digest:
            raise ValueError(
                f"the vectors are for model {model}, but those of {self.bz.digest} are being streamed: cutover() "
                "or rollback() first"
            )

    def now(self) -> Successor:
        """The heir as it is, for the next snapshot of the collection."""
        rows = self.heir.current.snapshot
        tail = rows.tail.part
        if tail.origin is not self._tail:
            self._tail, self._seen = tail.origin, 0
        if tail.rows > self._seen:
            self._coverage.note(tail.index.ids[self._seen :])
            self._seen = tail.rows
        noted = self._coverage.noted
        return Successor(rows, partial(self._coverage.waiting, new=rows, noted=noted))

    def followed(self, change: AnyChange) -> Sequence[tuple[Heir, AnyChange]]:
        """What a write of the collection is followed by. ValueError for vectors of another migration."""
        if isinstance(change, StreamChange):
            self.check(change.model)
            return [(self.heir, FoundChange(change))]
        if isinstance(change, PayloadChange):
            return [(self.heir, change)]
        if not isinstance(change, Change):
            return []
        nothing = np.empty(0, np.int64)
        ids, keys = (change.ids, change.keys) if change.filter is None else (nothing, None)
        return [(self.heir, Change(ids, None, (), {}, filter=change.filter, keys=keys))]

    def check_none_waits(self, snapshot: Snapshot, bare: bool, call: str) -> None:
        """The ValueError of `carried`."""
        waiting = self.now().waiting(snapshot)
        if not bare:
            check_none_behind(len(waiting), len(snapshot), self.bz.digest, call)

    def carried(self, snapshot: Snapshot, bare: bool, call: str, write: Callable[[StreamChange], int]) -> bool:
        """Brings some rows over that the heir has not, without a vector; whether that was all. `bare`: without it, a
        ValueError says how many have no vector of the heir's model, and how to `call` so that they need none."""
        successor = self.now()
        self.check_none_waits(snapshot, bare, call)
        numbers = self._coverage.absent(snapshot, successor.rows, self._coverage.noted)
        some = numbers[:_PIECE]
        if len(some):
            change = self.change(Named(some), np.zeros((len(some), self.bz.input_dim), np.float32))
            write(replace(change, placed=True, bare=True))
        return len(numbers) <= _PIECE


def check_stream_target(streaming: Streaming | None, bz: Binarizer, target: Binarizer) -> None:
    """ValueError unless vectors for `target` may be streamed to a collection of the model `bz`."""
    if streaming is not None and streaming.bz.digest != target.digest:
        raise ValueError(
            f"bz is model {target.digest}, but vectors of model {streaming.bz.digest} are being streamed: "
            "cutover() or rollback() first"
        )
    if target.digest == bz.digest:
        raise ValueError(f"bz is model {target.digest}, which the collection has: want another one")
    if target.metric != bz.metric:
        raise ValueError(f"bz has metric {target.metric!r}: want {bz.metric!r}, that of the collection")


def check_not_streaming(streaming: Streaming | None) -> None:
    """ValueError while vectors of another producer are being streamed."""
    if streaming is not None:
        raise ValueError(f"vectors of model {streaming.bz.digest} are being streamed: cutover() or rollback() first")
