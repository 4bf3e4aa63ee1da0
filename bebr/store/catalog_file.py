"""The catalog as a file: made, opened, upgraded, brought up to the versions that were acknowledged, and closed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from bebr.errors import CorruptFile, LimitExceeded
from bebr.files import sync_folder
from bebr.store import schema as t
from bebr.store.folder import Folder
from bebr.store.listing import ALL, LOST, damaged_rows, read_listing
from bebr.store.sql import Sql
from bebr.store.upgrade import check_readable, upgrade
from bebr.store.versions import Slot, Versions

_log = logging.getLogger("bebr.store")

COUNTS = ("segments", "operations", "journal_bytes")
"""What a collection's row counts, all 0 at first."""

_CHANGING = ("model", "settings", "version", "sealed", *COUNTS, "crc")
# Statements of a commit, made once: making them takes longer than SQLite's work.
_ROW = sa.select(t.collections).where(t.collections.c.id == sa.bindparam("collection"))
_UPDATE = sa.update(t.collections).where(t.collections.c.id == sa.bindparam("collection"))
_UPDATE = _UPDATE.values({name: sa.bindparam(name) for name in _CHANGING})


class CatalogFile:
    """The file of a catalog, made if there is none.

    Nothing that SQL says of a damaged file leaves this class but as CorruptFile.
    """

    def __init__(self, folder: Folder, settle: bool = True) -> None:
        """`settle`: bring the files of catalog and versions up to each other; without, nothing is written."""
        folder.check_catalog()
        self._folder = folder
        self._path = folder.catalog
        self._versions = Versions(folder.versions)
        self._sql = Sql(folder.catalog, folder.reserve)
        try:
            self._open()
            self._listing = read_listing(self._sql, self._versions)
            if settle:
                self._settle()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        with self._sql.read(ALL) as db:
            empty = db.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
        if empty:
            self._folder.check_unused("holds no tables")
            self._sql.write(_create)
            self._sql.log_ahead()
            sync_folder(self._path.parent)
        self._check_schema()
        self._sql.check_structure("what can be read is served, but nothing more is written; restore it from a backup")

    @property
    def sound(self) -> bool:
        """Whether no collection was damaged when it was opened, as far as the catalog tells."""
        return self._sql.damage is None and self._listing.sound

    @property
    def damage(self) -> CorruptFile | None:
        """What is wrong with the structure of the file, to which nothing is written then."""
        return self._sql.damage

    @property
    def notices(self) -> list[str]:
        """Damages that cost no collection, as found when it was opened."""
        return self._listing.notices

    def damaged_rows(self) -> Iterator[tuple[int | None, CorruptFile]]:
        """Every row that is not as it was written, with the number of its collection, where it has one."""
        return damaged_rows(self._sql)

    def _check_schema(self) -> None:
        with self._sql.read(ALL) as db:
            check_readable(self._path, db.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == "schema")))
            schema = self._meta(db, "schema", ALL)
            if self._meta(db, "definitions", ALL) != t.definitions(db):
                raise CorruptFile(f"{self._path}: its tables are not defined as they were made; {ALL}")
        if schema != str(t.VERSION):
            upgrade(self._sql, int(schema))

    def _meta(self, db: sa.Connection, key: str, costs: str) -> str:
        row = db.execute(sa.select(t.meta).where(t.meta.c.key == key)).one_or_none()
        if row is None:
            raise CorruptFile(f"{self._path}: table 'meta' has no key {key!r}; {costs}")
        return str(self._sql.verified(t.meta, row, f"key {key!r}", costs)["value"])

    def close(self) -> None:
        self._sql.close()
        self._versions.close()

    # Opening

    def _settle(self) -> None:
        """Where all is well, the file of versions is brought up to the catalog. Else nothing changes: what is left may
        help."""
        versions, listing = self._versions, self._listing
        for notice in (*([self._sql.damage] if self._sql.damage else []), *listing.notices):
            _log.error("%s", notice)
        if not self.sound:
            self._folder.keep_copy(self._path.with_name(f"{self._path.name}-wal"), "belongs to a damaged catalog")
            return
        if versions.wrong:
            self._folder.keep_copy(versions.path, "is damaged")
        slots = {entry.id: Slot(entry.id, name, entry.version) for name, entry in listing.entries.items()}
        try:
            self._sql.log_ahead()
            if slots != versions.found or versions.wrong:
                versions.rewrite(list(slots.values()))
            if listing.dropped:
                gone = t.collections.c.id.in_(listing.dropped)
                self._sql.write(lambda db: db.execute(sa.delete(t.collections).where(gone)))
        except (LimitExceeded, OSError) as error:  # a full disk: the next opening may do it
            _log.warning("%s was not tidied: %s", self._path, error)

    def _row(self, db: sa.Connection, collection: int) -> dict[str, Any]:
        row = db.execute(_ROW, {"collection": collection}).one_or_none()
        if row is None or row.dropped == 1:
            raise KeyError(f"no collection of number {collection}: it was dropped")
        return self._sql.verified(t.collections, row, f"collection {row.name!r}", LOST)


def _create(db: sa.Connection) -> None:
    t.metadata.create_all(db)
    values = {"schema": str(t.VERSION), "definitions": t.definitions(db), "next_collection": "1"}
    db.execute(sa.insert(t.meta), [t.signed(t.meta, key=key, value=value) for key, value in values.items()])


def update_rows(db: sa.Connection, *rows: dict[str, Any]) -> None:
    """Writes changed rows of the table of collections."""
    fresh = [t.signed(t.collections, **{key: value for key, value in row.items() if key != "crc"}) for row in rows]
    db.execute(_UPDATE, [{"collection": row["id"], **{name: row[name] for name in _CHANGING}} for row in fresh])


def note_removed(db: sa.Connection, files: Sequence[str]) -> None:
    """Remembers segment files that no collection uses any more."""
    if files:
        db.execute(sa.insert(t.removed), [t.signed(t.removed, file=file) for file in files])
