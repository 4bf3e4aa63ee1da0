"""The catalog as a file of SQLite: made, opened, upgraded, brought up to the versions that were acknowledged."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from bebr.errors import CorruptFile, LimitExceeded
from bebr.files import sync_folder
from bebr.store.catalog import schema as t
from bebr.store.catalog.by_sql import SqlCatalog
from bebr.store.catalog.listing import ALL, read_listing
from bebr.store.catalog.sqlite import Sqlite, definitions
from bebr.store.catalog.tables import create_tables
from bebr.store.catalog.upgrade import check_readable, upgrade
from bebr.store.catalog.versions import Slot, Versions
from bebr.store.files.folder import Folder

_log = logging.getLogger("bebr.store")


class FileCatalog(SqlCatalog):
    """The catalog of a folder, made if there is none. Safe to use from many threads."""

    _sql: Sqlite
    _versions: Versions

    def __init__(self, folder: Folder, settle: bool = True) -> None:
        """`settle`: bring the files of catalog and versions up to each other; without, nothing is written."""
        folder.check_catalog()
        self._folder = folder
        self._path = folder.catalog
        self._versions = Versions(folder.versions)
        self._sql = Sqlite(folder.catalog, folder.reserve)
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
            self._sql.write(lambda db: create_tables(db, definitions))
            self._sql.log_ahead()
            sync_folder(self._path.parent)
        self._check_schema()
        self._sql.check_structure("what can be read is served, but nothing more is written; restore it from a backup")

    def _check_schema(self) -> None:
        with self._sql.read(ALL) as db:
            check_readable(self._path, db.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == "schema")))
            schema = self._meta(db, "schema", ALL)
            if self._meta(db, "definitions", ALL) != definitions(db):
                raise CorruptFile(f"{self._path}: its tables are not defined as they were made; {ALL}")
        if schema != str(t.VERSION):
            upgrade(self._sql, int(schema))

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
