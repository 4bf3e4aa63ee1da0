"""The catalog: one transactional database that says which models, collections, segments and unsealed writes exist.

It is a file of SQLite (`bebr.store.catalog.file`) or a schema of PostgreSQL (`bebr.store.catalog.shared`), with the
same tables, statements and checksums (`bebr.store.catalog.by_sql`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from bebr.store.catalog.records import Bitmap, CollectionRow, Manifest, Operation, SegmentRow, Settings


class Catalog(Protocol):
    """Safe to use from many threads. A call that changes something is one transaction, on disk when it returns.

    KeyError for what is not there or was dropped, AlreadyExists for a name that is taken, CorruptFile for a damaged
    row, which costs its collection only; DatabaseLocked where another process owns the collection.
    """

    @property
    def sound(self) -> bool:
        """Whether no collection was damaged when it was opened, as far as the catalog tells."""

    def close(self) -> None: ...

    # Names

    def add_model(self, digest: str) -> None: ...

    def models(self) -> list[str]:
        """Digests, sorted."""

    def has_model(self, digest: str) -> bool: ...

    def create_collection(self, name: str, model: str, settings: Settings | None = None) -> CollectionRow: ...

    def collection(self, name: str) -> CollectionRow: ...

    def collections(self, hidden: bool = False) -> list[str]:
        """Names, sorted, of damaged collections too; with `hidden`, those that only the catalog names."""

    def drop_collection(self, name: str) -> list[str]:
        """Removes the collection and everything of it; returns its segment files, now to be deleted."""

    def set_settings(self, row: CollectionRow) -> None:
        """The model and the settings of a collection become those of `row`."""

    def aliases(self) -> dict[str, str]: ...

    def resolved(self, name: str) -> str:
        """The collection of an alias; another name as it is."""

    def set_alias(self, alias: str, name: str) -> None: ...

    def drop_alias(self, alias: str) -> None: ...

    def watch_aliases(self, seen: Callable[[Mapping[str, str]], None]) -> None:
        """Has `seen` called with the collection of each alias: now, and whenever names of collections or aliases are
        others."""

    # Successors (`bebr.store.catalog.successors`)

    def create_successor(
        self, row: CollectionRow, model: str, settings: Settings
    ) -> tuple[CollectionRow, CollectionRow]: ...

    def drop_successor(self, row: CollectionRow) -> tuple[CollectionRow, list[str]]: ...

    def exchange(
        self, row: CollectionRow, settings: Settings, former: Settings
    ) -> tuple[CollectionRow, CollectionRow]: ...

    # Contents

    def manifest(self, collection: int) -> Manifest:
        """What the collection consists of."""

    def contents(
        self, collection: int, after: int | None = None
    ) -> AbstractContextManager[tuple[Manifest, Iterator[Operation]]]:
        """The same and its journal, as of one moment; `after`: only the writes after that version."""

    def operations(self, collection: int) -> Iterator[Operation]:
        """The writes since the last seal, in order; one of many rows comes in several parts of the same version."""

    def commit(self, items: Sequence[tuple[int, Operation]]) -> list[int]:
        """Records writes (number of the collection, operation), all or none; returns each write's version."""

    def install(
        self,
        collection: int,
        added: Sequence[SegmentRow],
        removed: Sequence[str],
        dead: Mapping[str, Bitmap],
        through_version: int,
        row_after: CollectionRow | None = None,
    ) -> int:
        """The moment a seal or a merge becomes true; returns the collection's new version."""

    # Files

    def files(self) -> set[str]:
        """Every segment file of every collection."""

    def removed(self) -> list[str]:
        """Segment files that no collection uses any more, and which may still be there."""

    def forget(self, files: Sequence[str]) -> None:
        """Files of `removed` that are deleted."""
