"""A catalog in a file of SQLite: its settings, its log, a full disk, and what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import InterfaceError, ProgrammingError, SQLAlchemyError

from bebr.collection.protocol import DatabaseLocked
from bebr.errors import CorruptFile, LimitExceeded
from bebr.store.catalog import schema as t
from bebr.store.catalog.sql import Sql
from bebr.store.files.folder import Reserve

T = TypeVar("T")

# secure_delete, on by default in some builds, writes zeros over every page of the journal that a seal frees.
_PRAGMAS = ("synchronous=FULL", "secure_delete=OFF", "cell_size_check=ON", "busy_timeout=60000")


class Sqlite(Sql):
    """Of the file `path`. Its writes are serialised by `Sql`, since SQLite has one writer."""

    def __init__(self, path: Path, reserve: Reserve) -> None:
        engine = _open_engine(path)
        super().__init__(str(path), engine, engine.execution_options(writes=True))
        self.path = path
        self._reserve = reserve

    def write(
        self, work: Callable[[sa.Connection], T], done: Callable[[T], None] = lambda _: None, frees_space: bool = False
    ) -> T:
        """As of `Sql`; with `frees_space` it is tried again on a full disk with the space of the reserve."""
        try:
            return self._write_once(work, done)
        except LimitExceeded:
            if not frees_space or not self._reserve.release():
                raise
            self._empty_log()
            return self._write_once(work, done)
        finally:
            if not frees_space:
                self._reserve.fill(self._log_bytes())

    def _log_bytes(self) -> int:
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _empty_log(self) -> None:
        """Puts what the log has into the file, and gives its space back, unless somebody reads at this moment."""
        with self._write_lock, contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(self.path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def check_structure(self, costs: str) -> None:
        """Looks whether every page is where it belongs, and sets `damage`."""
        try:
            with self._engine.begin() as db:
                found = str(db.exec_driver_sql("PRAGMA quick_check(1)").scalar())
            if found != "ok":
                self.damage = CorruptFile(f"{self.path} is damaged: {' '.join(found.split())}; {costs}")
        except SQLAlchemyError as error:
            found_error = self._translated(error, costs)
            if not isinstance(found_error, CorruptFile):
                raise found_error from error
            self.damage = found_error

    def log_ahead(self) -> None:
        """Sets the file to write-ahead logging, for good, and empties the log into it."""
        try:
            with closing(sqlite3.connect(self.path, isolation_level=None)) as db:  # neither goes in a transaction
                for pragma in ("journal_mode=WAL", "wal_checkpoint(TRUNCATE)"):
                    db.execute(f"PRAGMA {pragma}").fetchall()
        except sqlite3.Error as error:
            raise self._translated(error, "nothing was changed") from error

    def _translated(self, error: SQLAlchemyError | sqlite3.Error, costs: str) -> Exception:
        if isinstance(error, InterfaceError | ProgrammingError):
            return error
        text = str(getattr(error, "orig", None) or error)
        if "is full" in text:
            return LimitExceeded(f"no space left for {self.path}: {costs}; free some and repeat")
        if "too big" in text:
            return LimitExceeded(f"{self.path} cannot hold a value of 1 GB: {costs}; write smaller batches")
        if "locked" in text:
            return DatabaseLocked(f"{self.path} is locked by another program: close it there first")
        if "disk I/O" in text or "unable to open" in text:
            number = _reason(self.path)
            return OSError(number, f"{text} ({os.strerror(number)}); {costs}", str(self.path))
        return CorruptFile(f"{self.path} is damaged: {text}; {costs}")


def _reason(path: Path) -> int:
    """The errno behind a failure to open, read or write that SQLite does not tell."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return error.errno or errno.EIO
    return errno.EIO if resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY else errno.EFBIG


def _open_engine(path: Path) -> sa.Engine:
    """An engine on the SQLite file `path`. Transactions started with the execution option `writes=True` take the write
    lock at their start, so that they cannot fail half way for want of it."""
    # Threads are counted elsewhere: one that needs a connection gets one.
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), max_overflow=-1)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions by itself, and later than we need
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def definitions(db: sa.Connection) -> str:
    """What the database says its tables are, as a checksum."""
    rows = db.exec_driver_sql("SELECT tbl_name, type, name, coalesce(sql, '') FROM sqlite_master ORDER BY name")
    ours = [tuple(row) for row in rows if row[0] in t.metadata.tables]
    return f"{zlib.crc32(repr(ours).encode()):08x}"
