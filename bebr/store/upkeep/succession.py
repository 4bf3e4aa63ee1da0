"""How a collection goes from one producer's vectors to another's: begun, gone on with, cut over or rolled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.collection.keys import Named
from bebr.store.catalog.records import CollectionRow, SegmentRow, Settings
from bebr.store.files.kept import Keeping
from bebr.store.snapshots.snapshot import Successor
from bebr.store.upkeep.streaming import Heir, Streaming, check_not_streaming, check_stream_target
from bebr.store.writes.change import AnyChange
from bebr.store.writes.current import Current
from bebr.store.writes.state import State
from bebr.store.writes.writer import Target


class Succession:
    """Of one collection, to which the writing thread knows `target`. `beside`: makes the contents of another one of the
    database, from what the catalog says of it."""

    def __init__(self, current: Current, target: Target, beside: Callable[[CollectionRow], Heir]) -> None:
        self._current, self._target, self._beside = current, target, beside
        self._streaming: Streaming | None = None
        current.companion = self._companion
        if name := current.state.row.settings.successor:  # a migration that the catalog knows of
            self._accompany(current.shared.catalog.collection(name))
            current.show(current.state.snapshot)

    @property
    def model(self) -> Binarizer | None:
        """That another producer's vectors are being streamed for; None where they are not."""
        streaming = self._streaming
        return None if streaming is None else streaming.bz

    @property
    def heir(self) -> Heir | None:
        """The contents that are to take its place, or that it took the place of; None where there are none."""
        streaming = self._streaming
        return None if streaming is None else streaming.heir

    def _companion(self) -> Successor | None:
        return None if self._streaming is None else replace(self._streaming.now(), former=self.cut_over)

    def check_none(self) -> None:
        """ValueError while vectors of another producer are being streamed."""
        check_not_streaming(self._streaming)

    def close(self, reason: Exception) -> None:
        """Closes what is to take its place, if anything is."""
        if self._streaming is not None:
            self._streaming.heir.close(reason)

    def followed(self, change: AnyChange) -> Sequence[tuple[Heir, AnyChange]]:
        """What a write of the collection is followed by, in the same commit."""
        return () if self._streaming is None else self._streaming.followed(change)

    def empty(self) -> list[SegmentRow]:
        """Removes what was streamed, in the writing thread; files to be deleted."""
        return [] if self._streaming is None else self._streaming.heir.current.empty()[1]

    @contextmanager
    def still(self) -> Iterator[None]:
        """Holds back seals, those of a successor too. Merges go on: what is there no more when they end, they leave."""
        with self._current.sealing:
            if self._streaming is None:
                yield
                return
            with self._streaming.heir.current.sealing:
                yield

    def begin(self, target: Binarizer) -> None:
        """From now on takes vectors of another producer, coded by `target`. Repeating it is harmless. ValueError for a
        model that does not fit, or while there is another such migration."""
        current, shared = self._current, self._current.shared
        current.check_open()
        if self.model is not None and self.model.digest == target.digest:
            return
        check_stream_target(self._streaming, current.state.bz, target)
        Keeping.of(current.state.row.settings.keep, target)
        digest = shared.models.add(target)

        def begin() -> None:
            if self._streaming is None:
                own = current.state.row.settings
                settings = Settings(own.keep, text=own.text, index=own.index, target_recall=own.target_recall)
                current.state.row, made = shared.catalog.create_successor(current.state.row, digest, settings)
                self._accompany(made)
                current.show(current.state.snapshot)
            check_stream_target(self._streaming, current.state.bz, target)

        current.run(begin)

    def follow(self, state: State) -> None:
        """Has the successor that a `state` of the collection has, which was read anew, in the writing thread."""
        name, heir = state.row.settings.successor, self.heir
        if not name:
            self._streaming = None
            return
        row = self._current.shared.catalog.collection(name)
        if heir is None or heir.number != row.id:
            self._accompany(row)
        else:
            heir.current.reload(row, self._current.shared.catalog.manifest(row.id).version)

    def _accompany(self, row: CollectionRow) -> None:
        heir = self._beside(row)
        heir.current.on_install = lambda: self._current.show(self._current.state.snapshot)
        self._streaming = Streaming(heir)

    def submit(self, bz: Binarizer, ids: Named, vectors: Floats) -> Future[int]:
        """Encodes vectors float32[n, d] for the model `bz` and hands them to the writing thread, for those of the
        distinct `ids` that are there. ValueError where none are being streamed for that model."""
        self._current.check_open()
        migration = self._migration
        migration.check(bz.digest)
        return self._current.shared.writer.submit(self._target, migration.change(ids, vectors))

    @property
    def _migration(self) -> Streaming:
        self._current.check_open()
        if self._streaming is None:
            raise ValueError(f"collection {self._current.name!r} is not being migrated by streamed vectors")
        return self._streaming

    @property
    def cut_over(self) -> bool:
        """Whether what was streamed is in its place already, and the old rows are kept for a way back."""
        return self._current.state.row.settings.cut_over

    def check_exchange(self, bare: bool, call: str) -> None:
        """The ValueError that a `call` of `cutover`, or of `rollback` after one, would raise for rows that are behind;
        nothing is changed."""
        migration = self._migration

        def check() -> None:
            migration.heir.current.own()
            self._check_still(migration)
            migration.check_none_waits(self._current.state.snapshot, bare, call)

        self._current.run(check)

    def cutover(self, bare: bool, keep_old: bool) -> None:
        """The other producer's vectors take the place of the old ones, at one moment. `bare`: rows that have none yet
        stand without a vector then; else a ValueError says how many these are. `keep_old`: `rollback` leads back, until
        it is called once more without it."""
        migration = self._migration
        if keep_old and self._current.state.migrating:
            raise ValueError(
                "keep_old is True, but rows are still being re-encoded for an earlier migrate(): cut over once "
                "stats().rows_behind of it was 0, or without keep_old"
            )
        if not self.cut_over:
            self._exchange(migration, bare, "cutover")
        if not keep_old:
            self._drop(self._migration, "its migration is done")

    def rollback(self, bare: bool) -> None:
        """Ends the migration by streamed vectors and removes these; after a cutover that kept the old rows, goes back
        to these, of which the new ones are the successors again. `bare`: rows that have no old vector, since they were
        written later, stand without one then; else a ValueError says how many these are."""
        migration = self._migration
        if self.cut_over:
            self._exchange(migration, bare, "rollback")
        else:
            self._drop(migration, "its migration was rolled back")

    def _exchange(self, migration: Streaming, bare: bool, call: str) -> None:
        """The collection and its successor take each other's place."""
        current, heir = self._current, migration.heir.current
        write = partial(current.shared.writer.within, self._target)

        def exchanged() -> bool:
            heir.own()  # another process may have written both until now
            self._check_still(migration)
            if not migration.carried(current.state.snapshot, bare, call, write):
                return False
            before, after = current.state, heir.state
            own, new = before.row.settings, after.row.settings
            trained = max(own.trained_rows, new.trained_rows)
            settings = replace(new, retrain=own.retrain, trained_rows=trained)
            rows = current.shared.catalog.exchange(
                before.row,
                replace(settings, successor=own.successor, cut_over=not own.cut_over),
                replace(own, retrain=False, successor="", cut_over=False),
            )
            after.row, before.row = rows
            before.snapshot = replace(before.snapshot, successor=None)
            current.state, heir.state, self._streaming = after, before, Streaming(migration.heir)
            current.show(after.snapshot)
            return True

        with self.still():
            while not current.run(exchanged):
                pass

    def _drop(self, migration: Streaming, reason: str) -> None:
        """Removes the successor, or what the collection took the place of."""
        current, old = self._current, list[str]()

        def end() -> None:
            self._check_still(migration)
            current.state.row, files = current.shared.catalog.drop_successor(current.state.row)
            old.extend(files)
            self._streaming = None
            migration.heir.current.closed = ValueError(reason)
            current.show(current.state.snapshot)

        with self.still():
            current.run(end)
        current.unlink(old)

    def _check_still(self, migration: Streaming) -> None:
        if self._streaming is not migration:
            raise ValueError("the migration was ended by another call")
