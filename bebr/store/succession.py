"""How a collection goes from one producer's vectors to another's: begun, gone on with, cut over or rolled back."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.collection.keys import Named
from bebr.store.bitmaps import Bitmap
from bebr.store.catalog import Catalog
from bebr.store.change import AnyChange
from bebr.store.draft import Draft
from bebr.store.kept import Keeping
from bebr.store.models import Models
from bebr.store.part import Part
from bebr.store.records import CollectionRow, SegmentRow, Settings
from bebr.store.snapshot import Snapshot
from bebr.store.streaming import Streaming, check_not_streaming, check_stream_target
from bebr.store.tail import Tail
from bebr.store.writer import Writer


class Succession(ABC):
    """The part of a collection's contents that gives them a successor. What is declared here, the contents set."""

    name: str
    number: int
    bz: Binarizer
    target: Binarizer
    keeping: Keeping | None
    _row: CollectionRow
    _folder: Path
    _models: Models
    _catalog: Catalog
    _writer: Writer
    _closed: Exception | None
    _sealing: threading.Lock
    _snapshot: Snapshot
    _tail: Tail
    _unsealed: int
    _sealed: int
    _installed: dict[Part, Bitmap | None]
    _streaming: Streaming[Succession] | None

    installed: Callable[[], None]
    """Called in the writing thread once a seal or a merge shows."""

    @property
    @abstractmethod
    def snapshot(self) -> Snapshot: ...

    @abstractmethod
    def check_open(self) -> None: ...

    @abstractmethod
    def draft(self) -> Draft: ...

    @abstractmethod
    def give_up(self) -> None: ...

    @abstractmethod
    def publish(self, snapshot: Snapshot, rows: int) -> None: ...

    @abstractmethod
    def _empty(self) -> tuple[int, list[SegmentRow]]:
        """Removes all rows; in the writing thread."""

    @abstractmethod
    def close(self, reason: Exception) -> None: ...

    @abstractmethod
    def _beside(self, row: CollectionRow) -> Succession:
        """Contents of another collection, in the same database."""

    @property
    def successor(self) -> Binarizer | None:
        """The model that another producer's vectors are being streamed for; None where they are not."""
        streaming = self._streaming
        return None if streaming is None else streaming.heir.bz

    def check_not_streaming(self) -> None:
        """ValueError while vectors of another producer are being streamed."""
        check_not_streaming(self._streaming)

    def followed(self, change: AnyChange) -> Sequence[tuple[Succession, AnyChange]]:
        """What a write is followed by, in the same commit."""
        return () if self._streaming is None else self._streaming.followed(change)

    def _show(self, snapshot: Snapshot) -> None:
        """In the writing thread: what searches see from now on, and what of a successor they see with it."""
        now = None if self._streaming is None else self._streaming.now()
        self._snapshot = replace(snapshot, successor=now)

    def begin_stream(self, target: Binarizer) -> None:
        """From now on takes vectors of another producer, coded by `target`. Repeating it is harmless. ValueError for a
        model that does not fit, or while there is another such migration."""
        self.check_open()
        if self.successor is not None and self.successor.digest == target.digest:
            return
        check_stream_target(self._streaming, self.bz, target)
        Keeping.of(self._row.settings.keep, target)
        digest = self._models.add(target)

        def begin() -> None:
            self.check_open()
            if self._streaming is None:
                own = self._row.settings
                settings = Settings(own.keep, text=own.text, index=own.index, target_recall=own.target_recall)
                self._row, made = self._catalog.create_successor(self._row, digest, settings)
                self._accompany(made)
                self._show(self._snapshot)
            check_stream_target(self._streaming, self.bz, target)

        self._writer.run(begin)

    def _resume(self) -> None:
        """Goes on with a migration that the catalog knows of."""
        if self._row.settings.successor:
            self._accompany(self._catalog.collection(self._row.settings.successor))
            self._show(self._snapshot)

    def _accompany(self, row: CollectionRow) -> None:
        heir = self._beside(row)
        heir.installed = lambda: self._show(self._snapshot)
        self._streaming = Streaming(heir)

    def submit_stream(self, bz: Binarizer, ids: Named, vectors: Floats) -> Future[int]:
        """Encodes vectors float32[n, d] for the model `bz` and hands them to the writing thread, for those of the
        distinct `ids` that are there. ValueError where none are being streamed for that model."""
        self.check_open()
        migration = self._migration
        migration.check(bz.digest)
        return self._writer.submit(self, migration.change(ids, vectors))

    @property
    def _migration(self) -> Streaming[Succession]:
        if self._streaming is None:
            raise ValueError(f"collection {self.name!r} is not being migrated by streamed vectors")
        return self._streaming

    def cutover(self, bare: bool) -> None:
        """The other producer's vectors take the place of the old ones, at one moment. `bare`: rows that have none yet
        stand without a vector then; else a ValueError says how many these are."""
        migration, old = self._migration, list[str]()

        def succeed() -> bool:
            self._check_still(migration)
            if not migration.carried(self._snapshot, bare, lambda change: self._writer.within(self, change)):
                return False
            heir = migration.heir
            settings = replace(self._row.settings, target="", successor="", bytes_per_vector=0)
            settings = replace(settings, efforts=heir._row.settings.efforts)
            self._row, files = self._catalog.succeed(self._row, settings)
            old.extend(files)
            self.number, self._streaming = heir.number, None
            self.bz = self.target = heir.bz
            self.keeping, self._tail, self._unsealed = heir.keeping, heir._tail, heir._unsealed
            self._sealed, self._installed, self._snapshot = heir._sealed, heir._installed, heir._snapshot
            heir._closed = ValueError("its migration is done")
            return True

        with self._still():
            while not self._writer.run(succeed):
                pass
        self._unlink(old)

    def rollback(self) -> None:
        """Ends the migration by streamed vectors and removes these."""
        migration, old = self._migration, list[str]()

        def end() -> None:
            self._check_still(migration)
            self._row, files = self._catalog.drop_successor(self._row)
            old.extend(files)
            self._streaming = None
            migration.heir._closed = ValueError("its migration was rolled back")
            self._show(self._snapshot)

        with self._still():
            self._writer.run(end)
        self._unlink(old)

    def _check_still(self, migration: Streaming[Succession]) -> None:
        self.check_open()
        if self._streaming is not migration:
            raise ValueError("the migration was ended by another call")

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Holds back seals, those of a successor too. Merges go on: what is there no more when they end, they leave."""
        with self._sealing:
            if self._streaming is None:
                yield
                return
            with self._streaming.heir._sealing:
                yield

    def _unlink(self, files: Sequence[str]) -> None:
        for file in files:
            (self._folder / file).unlink(missing_ok=True)
