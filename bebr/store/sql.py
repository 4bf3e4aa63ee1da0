"""Transactions on the catalog's file. What SQLite raises comes out as the errors of bebr."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, ProgrammingError, SQLAlchemyError

from bebr.collection.protocol import DatabaseLocked
from bebr.errors import CorruptFile, LimitExceeded
from bebr.store import schema as t
from bebr.store.folder import Reserve

T = TypeVar("T")


class Sql:
    """Reads may come from any thread; writes are serialised here, since SQLite has one writer."""

    def __init__(self, path: Path, reserve: Reserve) -> None:
        self.path = path
        self._reserve = reserve
        self._engine = t.open_engine(path)
        self._writer = self._engine.execution_options(writes=True)
        self._write_lock = threading.Lock()
        self._closed = False
        self.damage: CorruptFile | None = None
        """What is wrong with the file's structure. Then nothing is written any more: a page that is listed as free and
        is not would be overwritten."""

    @contextmanager
    def read(self, costs: str) -> Iterator[sa.Connection]:
        """One transaction, so that several queries see one state. `costs`: what is lost where it cannot be read."""
        self._check_open()
        try:
            with self._engine.begin() as db:
                yield db
        except SQLAlchemyError as error:
            raise self._translated(error, costs) from error

    def write(
        self, work: Callable[[sa.Connection], T], done: Callable[[T], None] = lambda _: None, frees_space: bool = False
    ) -> T:
        """`work` in one transaction, on disk when this returns; then `done`, before the next transaction begins.

        `frees_space`: on a full disk it is tried again with the space of the reserve.
        """
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

    def _write_once(self, work: Callable[[sa.Connection], T], done: Callable[[T], None]) -> T:
        if self.damage is not None:
            raise CorruptFile(f"nothing more is written to a damaged catalog: {self.damage}")
        with self._write_lock:
            self._check_open()
            try:
                with self._writer.begin() as db:
                    result = work(db)
            except SQLAlchemyError as error:
                raise self._translated(error, "nothing was written") from error
            done(result)
        return result

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

    def close(self) -> None:
        """Waits for the write in progress."""
        with self._write_lock:
            self._closed = True
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closed:  # the engine would connect again
            raise ValueError(f"{self.path} is closed")

    def verified(self, table: sa.Table, row: sa.Row[Any], what: str, costs: str) -> dict[str, Any]:
        """A row as a dict, once its checksum is found right. CorruptFile names the table, `what` and what it
        `costs`."""
        values = dict(row._mapping)
        try:
            found = t.checksum(table, values)
        except (TypeError, UnicodeEncodeError) as error:
            raise CorruptFile(f"{self.path}: table {table.name!r}, {what}: {error}; {costs}") from error
        if found != values["crc"]:
            expected = f"{values['crc']:08x}" if isinstance(values["crc"], int) else repr(values["crc"])
            raise CorruptFile(
                f"{self.path}: table {table.name!r}, {what}: checksum expected {expected}, found {found:08x}; {costs}"
            )
        return values

    def _translated(self, error: SQLAlchemyError | sqlite3.Error, costs: str) -> Exception:
        """The error to raise for what a statement raised; a mistake of ours stays as it is."""
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
