"""What all of a catalog begins with: its tables, read and written row by row, with their checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from bebr.errors import CorruptFile
from bebr.store.catalog import schema as t
from bebr.store.catalog.listing import LOST, Listing, damaged_rows
from bebr.store.catalog.sql import Sql
from bebr.store.catalog.versions import Slots

T = TypeVar("T")

COUNTS = ("segments", "operations", "journal_bytes")
"""What a collection's row counts, all 0 at first."""

_CHANGING = ("model", "settings", "version", "sealed", *COUNTS, "crc")
# Statements of a commit, made once: making them takes longer than SQLite's work.
_ROW = sa.select(t.collections).where(t.collections.c.id == sa.bindparam("collection"))
_LOCKED_ROW = _ROW.with_for_update()  # SQLite, whose transactions have one writer, leaves that out
_UPDATE = sa.update(t.collections).where(t.collections.c.id == sa.bindparam("collection"))
_UPDATE = _UPDATE.values({name: sa.bindparam(name) for name in _CHANGING})


class CatalogTables:
    """Of a catalog that was opened: `_sql`, `_versions` and `_listing` are set by then.

    Nothing that SQL says of a damaged database leaves this class but as CorruptFile.
    """

    _sql: Sql
    _versions: Slots
    _listing: Listing

    @property
    def sound(self) -> bool:
        """Whether no collection was damaged when it was opened, as far as the catalog tells."""
        return self._sql.damage is None and self._listing.sound

    @property
    def damage(self) -> CorruptFile | None:
        """What is wrong with the structure of the database, to which nothing is written then."""
        return self._sql.damage

    @property
    def notices(self) -> list[str]:
        """Damages that cost no collection, as found when it was opened."""
        return self._listing.notices

    def damaged_rows(self) -> Iterator[tuple[int | None, CorruptFile]]:
        """Every row that is not as it was written, with the number of its collection, where it has one."""
        return damaged_rows(self._sql)

    def close(self) -> None:
        self._sql.close()
        self._versions.close()

    def _meta(self, db: sa.Connection, key: str, costs: str) -> str:
        row = db.execute(sa.select(t.meta).where(t.meta.c.key == key)).one_or_none()
        if row is None:
            raise CorruptFile(f"{self._sql.name}: table 'meta' has no key {key!r}; {costs}")
        return str(self._sql.verified(t.meta, row, f"key {key!r}", costs)["value"])

    def _row(self, db: sa.Connection, collection: int, lock: bool = False) -> dict[str, Any]:
        row = db.execute(_LOCKED_ROW if lock else _ROW, {"collection": collection}).one_or_none()
        if row is None or row.dropped == 1:
            raise KeyError(f"no collection of number {collection}: it was dropped")
        return self._sql.verified(t.collections, row, f"collection {row.name!r}", LOST)

    def _own_row(self, db: sa.Connection, collection: int) -> dict[str, Any]:
        """The row of a collection that is about to change, which nobody else changes until this transaction ends."""
        return self._row(db, collection, lock=True)

    def _write_names(
        self, work: Callable[[sa.Connection], T], done: Callable[[T], None] = lambda _: None, frees_space: bool = False
    ) -> T:
        """`Sql.write` of what is about names, of which `_listing` is true meanwhile."""
        return self._sql.write(work, done, frees_space)


def create_tables(db: sa.Connection, definitions: Callable[[sa.Connection], str], **more: str) -> None:
    """Makes the tables of an empty database. `definitions`: says what they are; `more`: further keys of `meta`."""
    t.metadata.create_all(db)
    values = {"schema": str(t.VERSION), "definitions": definitions(db), "next_collection": "1", **more}
    db.execute(sa.insert(t.meta), [t.signed(t.meta, key=key, value=value) for key, value in values.items()])


def update_rows(db: sa.Connection, *rows: dict[str, Any]) -> None:
    """Writes changed rows of the table of collections."""
    fresh = [t.signed(t.collections, **{key: value for key, value in row.items() if key != "crc"}) for row in rows]
    db.execute(_UPDATE, [{"collection": row["id"], **{name: row[name] for name in _CHANGING}} for row in fresh])


def note_removed(db: sa.Connection, files: Sequence[str]) -> None:
    """Remembers segment files that no collection uses any more."""
    if files:
        db.execute(sa.insert(t.removed), [t.signed(t.removed, file=file) for file in files])
