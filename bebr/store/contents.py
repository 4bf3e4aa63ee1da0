"""What a collection holds: its parts, put together, and the order in which its background work follows from writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bebr.binarizer import Binarizer
from bebr.store.catalog.records import CollectionRow, SegmentRow
from bebr.store.columns.table import nothing
from bebr.store.snapshots.draft import Draft
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.upkeep.attaching import Attaching
from bebr.store.upkeep.measuring import measure_memory, measuring_due
from bebr.store.upkeep.recoding import Recoding
from bebr.store.upkeep.rewriting import Rewriting
from bebr.store.upkeep.streaming import Heir
from bebr.store.upkeep.succession import Succession
from bebr.store.writes.change import AnyChange
from bebr.store.writes.current import Current
from bebr.store.writes.intake import Intake
from bebr.store.writes.shared import Shared
from bebr.store.writes.state import State

_POLL = 0.02  # seconds between two looks at whether merges are done


class Contents:
    """Of the collection that the catalog's `row` is of. `number`, `followed`, `draft`, `give_up` and `publish` are for
    the writing thread, `seal`, `merge` and `retrain` for the threads of background work too."""

    def __init__(self, row: CollectionRow, shared: Shared) -> None:
        self.current = Current(row, shared)
        self.succession = Succession(self.current, self, partial(Contents, shared=shared))
        self.intake = Intake(self.current, self)
        self.rewriting = Rewriting(self.current)
        self.recoding = Recoding(self.current, self.succession.check_none)
        self.attaching = Attaching(self.current, self.rewriting, self._check_attachable)
        self.current.on_replace = self.succession.follow
        self._seal_if_due()
        self._measure_if_due()
        self.retrain_if_due()
        self._request()

    @property
    def name(self) -> str:
        return self.current.name

    @property
    def number(self) -> int:
        """The catalog's number of it: another one after a cutover."""
        return self.state.number

    @property
    def state(self) -> State:
        """What is true of its rows: another object after a cutover."""
        return self.current.state

    @property
    def snapshot(self) -> Snapshot:
        """What there is now. An error once it is closed."""
        return self.current.snapshot

    @property
    def closed(self) -> bool:
        return self.current.closed is not None

    def close(self, reason: Exception) -> None:
        """As of `Current.close`, a successor too."""
        self.current.close(reason)
        self.succession.close(reason)

    # Of a write, in the writing thread

    def followed(self, change: AnyChange) -> Sequence[tuple[Heir, AnyChange]]:
        """What a write is followed by, in the same commit."""
        return self.succession.followed(change)

    def draft(self) -> Draft:
        """The next snapshot. An error once it is closed."""
        before = self._own
        self.current.own()
        if not before:  # what was left by whoever wrote before is for this process to do
            self._request()
        return Draft(self.state.snapshot, self.state.tail)

    def give_up(self) -> None:
        """The draft will not be published."""
        # The tail may have rows of the writes that failed. It stays as a part that shows only those of the snapshot.
        if self.state.tail.rows > self.state.snapshot.tail.part.rows:
            self.current.set_tail_apart()

    def publish(self, snapshot: Snapshot, rows: int) -> None:
        """Shows what was drafted and committed, a change of so many rows."""
        self.current.show(snapshot)
        self.rewriting.written = time.monotonic()
        self.state.unsealed += rows
        self._seal_if_due()
        self._measure_if_due()
        self.retrain_if_due()

    def truncate(self) -> int:
        """Removes all rows, and with them segments and journal; returns how many there were. Waits for a seal in
        progress; a merge in progress comes to nothing."""

        def empty() -> tuple[int, list[SegmentRow]]:
            after = self.succession.empty()
            rows, removed = self.current.empty()
            return rows, [*removed, *after]

        self.current.check_open()
        with self.succession.still():
            rows, removed = self.current.run(empty)
        self.current.unlink([row.file for row in removed])
        return rows

    # Background work

    @property
    def _own(self) -> bool:
        """Whether its background work is for this process to do."""
        return self.current.shared.owners.holds(self.number)

    def _seal_if_due(self) -> None:
        if self._own and self.state.unsealed >= self.current.shared.seal_rows:
            self.current.shared.sealer.request(self)

    def _measure_if_due(self) -> None:
        if self._own and measuring_due(self.current):
            self.current.shared.merger.request(self)

    def retrain_if_due(self) -> None:
        """Asks for training where it is due."""
        if self._own and self.recoding.training_due:
            self.current.shared.trainer.request(self)

    def seal(self, give_way: Callable[[], None] = nothing) -> None:
        """Writes what is in memory to a segment file (`Rewriting.seal`)."""
        if self.rewriting.seal(give_way):
            self._go_on()

    def merge(self, give_way: Callable[[], None] = nothing) -> None:
        """Makes one of some files, where that is due (`Rewriting.merge`); measures rows in memory after that."""
        if self.rewriting.merge(give_way):
            self._go_on()
        measure_memory(self.current, give_way)

    def flush(self) -> None:
        """Seals, a successor too."""
        self.seal()
        if (heir := self.succession.heir) is not None:
            heir.flush()

    def merge_all(self) -> None:
        """Merges until nothing is due, of a successor too."""
        self.merge()  # one in progress may be deleting files: it is waited for
        while self.rewriting.due and not self.closed:
            self.merge()
        if (heir := self.succession.heir) is not None:
            heir.merge_all()

    def settle(self, timeout: float | None) -> None:
        """Seals, and merges until nothing is due, a successor too; with a `timeout` in seconds, waits until the
        background did, at most so long: TimeoutError."""
        self.flush()
        self.end_load()
        if timeout is None:
            self.merge_all()
            return
        end = time.monotonic() + timeout
        while self.merging:
            self.current.check_open()
            if time.monotonic() >= end:
                raise TimeoutError(f"files of collection {self.name!r} are still being merged after {timeout} s")
            time.sleep(_POLL)

    def end_load(self) -> None:
        """As of `Rewriting.end_load`, of a successor too."""
        self.rewriting.end_load()
        self._request()
        if (heir := self.succession.heir) is not None:
            heir.end_load()

    @property
    def merging(self) -> bool:
        """Whether files are being merged, or are to be, those of a successor included."""
        heir = self.succession.heir
        own = self.rewriting.due or self.state.migrating or self.current.merging.locked()
        return own or (heir is not None and heir.merging)

    def attach(self, path: Path) -> int:
        """Takes an index file as a segment (`Attaching.attach`)."""
        rows = self.attaching.attach(path)
        self._request()
        return rows

    def _check_attachable(self) -> None:
        self.succession.check_none()
        if self.state.migrating:
            raise ValueError(f"collection {self.name!r} is being migrated: attach the file once that is done")

    def _go_on(self) -> None:
        self.recoding.finish()
        if not self.state.migrating:
            self.retrain_if_due()
        self._request()

    def _request(self) -> None:
        """Has done what is due next: rows in memory re-encoded, files merged."""
        if not self._own:
            return
        waiting = self.recoding.waiting
        if any(view.part.row is None for view in waiting):
            self.current.shared.sealer.request(self)
        due_in = self.rewriting.due_in
        if due_in == 0 or (self.state.migrating and not waiting):
            self.current.shared.merger.request(self)
        elif due_in is not None:
            self.current.shared.merger.request_in(self, due_in)

    # Another model

    def migrate(self, target: Binarizer) -> None:
        """Has all rows coded by another model of the same vectors (`Recoding.migrate`)."""
        self.recoding.migrate(target)
        self._request()

    def retrain(self, bytes_per_vector: int | None = None) -> None:
        """Trains a model on the kept vectors and migrates to it (`Recoding.retrain`)."""
        self.recoding.retrain(bytes_per_vector)
        self._request()

    def finish_migration(self) -> None:
        """Re-encodes what is left, now."""
        while self.state.migrating:
            self.current.check_open()
            self.seal()
            self.merge()

    @property
    def heading(self) -> str:
        """The digest of the model that rows are being migrated to; empty for none."""
        new = self.succession.model
        return new.digest if new is not None and not self.succession.cut_over else self.state.row.settings.target

    @property
    def former(self) -> str:
        """The digest of the model whose rows are kept since a cutover; empty where none are."""
        old = self.succession.model
        return old.digest if old is not None and self.succession.cut_over else ""

    def check_exchange(self, bare: bool, call: str) -> None:
        """What a cutover, or its rollback, would raise for rows that are behind (`Succession.check_exchange`)."""
        self.succession.check_exchange(bare, call)

    def cutover(self, bare: bool, keep_old: bool) -> None:
        """Another producer's vectors take the place of the old ones (`Succession.cutover`)."""
        self.succession.cutover(bare, keep_old)
        self._go_on()

    def rollback(self, bare: bool) -> None:
        """The way back (`Succession.rollback`)."""
        self.succession.rollback(bare)
        self._go_on()

    def rows_behind(self) -> int:
        """How many rows are still in codes of another model than the one of new writes, or wait for the vector of
        another producer."""
        if self.succession.model is not None:
            return len(self.snapshot.behind)
        return sum(view.live for view in self.recoding.waiting)
