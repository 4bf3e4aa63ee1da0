"""Transactions on a catalog, whichever database it is in. What its driver raises comes out as the errors of bebr."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from bebr.errors import CorruptFile, LimitExceeded
from bebr.store.catalog import schema as t
from bebr.store.files.opener import Opener

T = TypeVar("T")


class Sql(ABC):
    """Reads may come from any thread; writes of this process come one after the other. `name`: the database, as
    messages have it."""

    damage: CorruptFile | None = None
    """What is wrong with the structure of the database. Then nothing is written any more: a page that is listed as
    free and is not would be overwritten."""

    most_bytes = 10**9
    """Of a value."""

    def __init__(self, name: str, reader: sa.Engine, writer: sa.Engine) -> None:
        self.name = name
        self._engine, self._writer = reader, writer
        self._write_lock = threading.Lock()
        self._closed = False
        self._opener = Opener()

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

        `frees_space`: a full disk is to let it through, where that can be.
        """
        return self._write_once(work, done)

    def _write_once(self, work: Callable[[sa.Connection], T], done: Callable[[T], None]) -> T:
        self._opener.check()
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

    @contextmanager
    def still(self) -> Iterator[None]:
        """Holds back the writes of this process."""
        with self._write_lock:
            yield

    def close(self) -> None:
        """Waits for the write in progress."""
        with self._write_lock:
            self._closed = True
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closed:  # the engine would connect again
            raise ValueError(f"{self.name} is closed")

    def verified(self, table: sa.Table, row: sa.Row[Any], what: str, costs: str) -> dict[str, Any]:
        """A row as a dict, once its checksum is found right. CorruptFile names the table, `what` and what it
        `costs`."""
        values = dict(row._mapping)
        try:
            found = t.checksum(table, values)
        except (TypeError, UnicodeEncodeError) as error:
            raise CorruptFile(f"{self.name}: table {table.name!r}, {what}: {error}; {costs}") from error
        if found != values["crc"]:
            expected = f"{values['crc']:08x}" if isinstance(values["crc"], int) else repr(values["crc"])
            raise CorruptFile(
                f"{self.name}: table {table.name!r}, {what}: checksum expected {expected}, found {found:08x}; {costs}"
            )
        return values

    def check_blobs(self, columns: Mapping[str, Any]) -> None:
        """LimitExceeded where one of these could not be written, or be written and then not be read."""
        for name, value in columns.items():
            if len(value) > self.most_bytes:
                much = f"{len(value)} bytes of {name} in a row, at most {self.most_bytes}"
                raise LimitExceeded(f"{self.name} cannot hold {much}: nothing was written")

    @abstractmethod
    def _translated(self, error: SQLAlchemyError, costs: str) -> Exception:
        """The error to raise for what a statement raised; a mistake of ours stays as it is."""
