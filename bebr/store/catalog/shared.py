"""The catalog in PostgreSQL, which several processes have open. Each collection is written by the one that holds its
lease.

A lease is a row: who holds it, until when by the server's clock, and a token that grows whenever somebody takes it.
Every transaction that changes a collection first locks the collection's row and then compares the token. Taking a lease
locks the same row. So a process that was paused, or cut off, while another one took its lease can commit no more: not
because of what time it believes it is, but because the token is another one.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from bebr.collection.protocol import DatabaseLocked
from bebr.errors import CorruptFile
from bebr.store.catalog.by_sql import SqlCatalog
from bebr.store.catalog.listing import ALL, read_listing
from bebr.store.catalog.postgres import Postgres, definitions, is_empty, lock_names
from bebr.store.catalog.records import CollectionRow
from bebr.store.catalog.tables import create_tables
from bebr.store.catalog.upgrade import check_readable
from bebr.store.catalog.versions import NoSlots

T = TypeVar("T")

LEASE_SECONDS = 10.0

# Not among the tables of a catalog: a file of SQLite has one process, and the same tables as ever.
_own = sa.MetaData()
leases = sa.Table(
    "leases",
    _own,
    sa.Column("collection", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("holder", sa.String, nullable=False),  # unlike any other process's
    sa.Column("address", sa.String, nullable=False),  # for people: host and process
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
)
# Another text after every change to what there is: the system has another xmin for each version of a row.
_MARK = sa.text(
    "SELECT md5(coalesce(string_agg(what, ',' ORDER BY what), '')) FROM (SELECT 'c' || id || ' ' || xmin AS what "
    "FROM collections UNION ALL SELECT 'a' || name || ' ' || xmin FROM aliases UNION ALL SELECT 'm' || digest || ' ' "
    "|| xmin FROM models) AS each"
)
_FENCE = sa.select(leases.c.token, leases.c.holder).where(leases.c.collection == sa.bindparam("number"))


class SharedCatalog(SqlCatalog):
    """Of the schema that `url` leads to, made if there is none; with `make` False, FileNotFoundError then. `database`:
    what tells it from any other.

    `lease_seconds`: how long a lease holds after it was taken or renewed (`renew`).
    """

    _sql: Postgres

    def __init__(self, url: sa.URL, lease_seconds: float = LEASE_SECONDS, make: bool = True) -> None:
        self._tokens: dict[int, int] = {}  # of the leases that are held, by collection
        self._last: dict[int, int] = {}  # and of those that were taken last
        self._make = make
        # Where a commit may have been done or not, the collections are read anew before more is written to them.
        self._sql = Postgres(url, unsure=self._tokens.clear)
        self._versions = NoSlots()
        self._lasting = sa.text(f"interval '{lease_seconds:f} seconds'")
        self._holder, self._address = uuid.uuid4().hex, f"{socket.gethostname()}:{os.getpid()}"
        try:
            self.database = self._sql.write(self._opened)
            self._mark = self._read_mark()  # of a listing that is as old as this, or newer
            self._listing = read_listing(self._sql, self._versions)
        except BaseException:
            self.close()
            raise

    def _opened(self, db: sa.Connection) -> str:
        """Makes the tables unless they are there; what they say the database is."""
        lock_names(db)  # of two that open an empty schema, one makes them
        if is_empty(db):
            if not self._make:
                raise FileNotFoundError(f"{self._sql.name}: there is no database in this schema")
            _own.create_all(db)
            create_tables(db, definitions, database=uuid.uuid4().hex)
        check_readable(self._sql.name, self._meta(db, "schema", ALL))
        if self._meta(db, "definitions", ALL) != definitions(db):
            raise CorruptFile(f"{self._sql.name}: its tables are not defined as they were made; {ALL}")
        return self._meta(db, "database", ALL)

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._sql.name

    # What other processes did

    def refresh(self) -> None:
        """Reads anew what there is, if it has changed."""
        with self._sql.still():  # what a write of this process adds to the listing is not to get lost
            mark = self._read_mark()
            if mark != self._mark:
                self._read_anew()
                self._mark = mark

    def _read_anew(self) -> None:
        self._listing = read_listing(self._sql, self._versions)
        self._show_aliases(self._listing.aliases)

    def _read_mark(self) -> str:
        return str(self._sql.glance(_MARK, ALL)[0])

    def version(self, name: str) -> int:
        """Of a collection, as of the last `refresh`. KeyError where there was none."""
        return self._listing.entries[name].version

    def _write_names(
        self, work: Callable[[sa.Connection], T], done: Callable[[T], None] = lambda _: None, frees_space: bool = False
    ) -> T:
        def locked(db: sa.Connection) -> T:
            lock_names(db)
            self._read_anew()
            return work(db)

        return self._sql.write(locked, done, frees_space)

    def numbers(self) -> set[int]:
        """Of all collections, hidden and damaged ones included, as of the last `refresh`."""
        return {entry.id for entry in self._listing.entries.values()}

    def collection(self, name: str) -> CollectionRow:
        """As of `Catalog`; one that is not known may have been made a moment ago."""
        if name not in self._listing.entries:
            self.refresh()
        return super().collection(name)

    def has_model(self, digest: str) -> bool:
        """As of `Catalog`; the same of models."""
        if not super().has_model(digest):
            self.refresh()
        return super().has_model(digest)

    # Leases

    def holds(self, collection: int) -> bool:
        """Whether this process holds the lease, as far as it knows."""
        return collection in self._tokens

    def take(self, collection: int) -> bool:
        """Takes the lease of a collection, or renews it; whether another process had it since this one did: then what
        this one was about to commit may be built on what is there no more, be the collection as it was. DatabaseLocked
        names who holds it; KeyError if it was dropped."""
        before = self._last.get(collection)

        def work(db: sa.Connection) -> int:
            name = self._row(db, collection, lock=True)["name"]
            now, c = sa.func.now(), leases.c
            new = insert(leases).values(
                collection=collection,
                holder=self._holder,
                address=self._address,
                token=1,
                expires=sa.func.clock_timestamp() + self._lasting,
            )
            changed = {"holder": new.excluded.holder, "address": new.excluded.address, "expires": new.excluded.expires}
            free = sa.or_(c.expires < now, c.holder == self._holder)
            taken = new.on_conflict_do_update(
                index_elements=[c.collection], set_={**changed, "token": c.token + 1}, where=free
            )
            token = db.scalar(taken.returning(c.token))
            if token is None:
                raise self._held_by_other(db, collection, name)
            return int(token)

        def done(token: int) -> None:
            self._tokens[collection] = self._last[collection] = token

        return self._sql.write(work, done) != (before or 0) + 1 and before is not None

    def _held_by_other(self, db: sa.Connection, collection: int, name: str) -> DatabaseLocked:
        left = sa.func.extract("epoch", leases.c.expires - sa.func.clock_timestamp())
        address, seconds = db.execute(sa.select(leases.c.address, left).where(leases.c.collection == collection)).one()
        return DatabaseLocked(
            f"collection {name!r} is written by process {address}, whose lease holds for "
            f"{max(float(seconds), 0):.1f} s unless it is renewed: write there, or close the database there first"
        )

    def renew(self) -> set[int]:
        """Has all leases that are held last anew; the collections of those that were lost."""
        held = dict(self._tokens)
        if not held:
            return set()
        mine = sa.update(leases).where(leases.c.holder == self._holder, leases.c.collection.in_(held))
        renewed = mine.values(expires=sa.func.clock_timestamp() + self._lasting).returning(
            leases.c.collection, leases.c.token
        )
        found = {number: token for number, token in self._sql.write(lambda db: db.execute(renewed).all())}
        lost = {number for number, token in held.items() if found.get(number) != token}
        for number in lost:
            self.lose(number)
        return lost

    def release(self) -> None:
        """Lets go of all leases: others need not wait until they end."""
        ended = sa.update(leases).where(leases.c.holder == self._holder).values(expires=sa.func.now())
        self._sql.write(lambda db: db.execute(ended))
        self._tokens.clear()

    def lose(self, collection: int) -> None:
        """Regards a lease as lost: it is taken anew before the next write, and the collection read anew."""
        self._tokens.pop(collection, None)

    def _own_row(self, db: sa.Connection, collection: int) -> dict[str, Any]:
        row = self._row(db, collection, lock=True)
        token = self._tokens.get(collection)
        found = db.execute(_FENCE, {"number": collection}).one_or_none()
        if token is None or found is None or (found.token, found.holder) != (token, self._holder):
            self.lose(collection)
            raise DatabaseLocked(
                f"collection {row['name']!r}: this process holds its lease no more, another one may have written; "
                "nothing was written, repeat it"
            )
        return row

    def _delete(self, db: sa.Connection, id: int, name: str) -> list[str]:
        files = super()._delete(db, id, name)
        db.execute(sa.delete(leases).where(leases.c.collection == id))
        self._tokens.pop(id, None)
        return files
