"""Which process writes a collection."""

from __future__ import annotations

from typing import Protocol

from bebr.store.catalog.records import CollectionRow


class Ownable(Protocol):
    """A collection that is open."""

    @property
    def name(self) -> str: ...

    @property
    def number(self) -> int: ...

    def reload(self, row: CollectionRow, version: int) -> None:
        """Reads it anew, in the writing thread, unless it is as the catalog says: of that row and version
        (-1: in any case)."""


class Owners(Protocol):
    def holds(self, collection: int) -> bool:
        """Whether this process writes the collection of that number: then it does its background work too."""

    def own(self, collection: Ownable) -> None:
        """Makes this process the one that writes it, in the writing thread. DatabaseLocked where another one is."""


class Alone:
    """In a folder, which one process has open: all is its own."""

    def holds(self, collection: int) -> bool:
        return True

    def own(self, collection: Ownable) -> None:
        """Nothing: it is."""
