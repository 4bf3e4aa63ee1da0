"""A collection that is open: its state, what searches see of it, and when it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from bebr.store.catalog.records import CollectionRow, SegmentRow
from bebr.store.columns.table import nothing
from bebr.store.snapshots.part import PartView
from bebr.store.snapshots.snapshot import Snapshot, Successor
from bebr.store.writes.shared import Shared
from bebr.store.writes.state import State, files_of

T = TypeVar("T")


def _none() -> None:
    return None


class Current:
    """`state`: replaced as a whole where another collection of the catalog takes its place. `sealing`, `merging`: one
    seal and one merge at a time. `companion`: what of a successor is seen with the next snapshot. `on_install`: called
    in the writing thread once a seal or a merge shows; `on_replace`: before `state` is another one, which was read."""

    def __init__(self, row: CollectionRow, shared: Shared) -> None:
        self.name, self.shared = row.name, shared
        self.state = State(row, shared)
        self.sealing, self.merging = threading.Lock(), threading.Lock()
        self.closed: Exception | None = None
        self.companion: Callable[[], Successor | None] = _none
        self.on_install: Callable[[], None] = nothing
        self.on_replace: Callable[[State], None] = lambda _: None
        self._seen: Callable[[], None] | None = None

    @property
    def snapshot(self) -> Snapshot:
        """What there is now. An error once it is closed."""
        snapshot = self.state.snapshot
        self.check_open()  # after that: what `shut` leaves is no answer
        return snapshot

    def check_open(self) -> None:
        """The error that it was closed with, if it was."""
        if self.closed is not None:
            raise type(self.closed)(*self.closed.args)

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, in the writing thread, between writes. An error if it is closed by then."""

        def checked() -> T:
            self.own()
            return work()

        return self.shared.writer.run(checked)

    def watch(self, seen: Callable[[], None]) -> None:
        """Has `seen` called now and whenever the snapshot or the model is another, and once it is closed: before the
        write that did it returns. It must not fail, nor take long."""

        def begin() -> None:
            self._seen = seen
            seen()

        self.shared.writer.run(begin)

    def close(self, reason: Exception) -> None:
        """Waits for the writes that were submitted, and for a seal and a merge in progress, which end soon. Calls after
        that get an error like `reason`; searches in progress keep their snapshot."""

        def shut() -> None:
            self.closed = reason

        self.shared.writer.run(shut)
        with self.merging, self.sealing:
            empty = PartView(self.state.new_tail().part(), None, 0)
            self.put(replace(self.state.snapshot, segments=(), tail=empty, successor=None))

    # In the writing thread

    @property
    def number(self) -> int:
        """The catalog's number of the collection."""
        return self.state.number

    def own(self) -> None:
        """Before something is written: an error if it is closed, or another process writes it."""
        self.check_open()
        self.shared.owners.own(self)

    def reload(self, row: CollectionRow, version: int) -> None:
        """Reads it anew, unless it is as the catalog says: of that row and version (-1: in any case)."""
        if (row, version) != (self.state.row, self.state.snapshot.version):
            self.replace(State(row, self.shared, self.state))

    def replace(self, state: State) -> None:
        """Has another state, which was read from the catalog; where that fails, the old one."""
        self.on_replace(state)
        self.state = state
        self.show(state.snapshot)

    def put(self, snapshot: Snapshot) -> None:
        """What searches see from now on."""
        self.state.snapshot = snapshot
        if self._seen is not None:
            self._seen()

    def show(self, snapshot: Snapshot) -> None:
        """The same, and what of a successor they see with it."""
        self.put(replace(snapshot, successor=self.companion()))

    def set_tail_apart(self) -> None:
        """Makes the tail one of the segments, as far as it shows, and begins a new one."""
        state, before = self.state, self.state.snapshot
        tail = state.new_tail()
        segments = (*before.segments, before.tail) if before.tail.part.rows else before.segments
        state.tail = tail
        self.put(replace(before, segments=segments, tail=PartView(tail.part(), None, 0)))

    def begin_seal(self) -> Snapshot:
        """Sets what is in memory apart; the snapshot to be sealed."""
        self.check_open()
        self.set_tail_apart()
        self.state.unsealed = 0
        return self.state.snapshot

    def empty(self) -> tuple[int, list[SegmentRow]]:
        """Removes all rows, their segments and their journal; how many there were, and files to be deleted."""
        self.own()
        state, before, tail = self.state, self.state.snapshot, self.state.new_tail()
        removed = files_of(before.segments)
        version = self.shared.catalog.install(state.number, [], [row.file for row in removed], {}, before.version)
        state.tail, state.unsealed, state.sealed, state.installed = tail, 0, before.version, {}
        self.show(replace(before, version=version, segments=(), tail=PartView(tail.part(), None, 0)))
        return len(before), removed

    # Files

    def journal_bytes(self) -> int:
        """Of the writes since the last seal, on disk."""
        return self.shared.catalog.manifest(self.state.number).journal_bytes

    def listed(self, file: str) -> bool:
        """Whether the catalog lists a segment file; if it cannot tell, it may."""
        try:
            return any(row.file == file for row in self.shared.catalog.manifest(self.state.number).segments)
        except Exception:
            return True

    def unlink(self, files: Sequence[str]) -> None:
        """Deletes segment files that the catalog does not list any more."""
        self.shared.files.remove(files)
