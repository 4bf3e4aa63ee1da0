"""A catalog in PostgreSQL: how it is connected to, what its errors mean, and what locks names."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bebr.collection.protocol import DatabaseLocked
from bebr.errors import CorruptFile, LimitExceeded
from bebr.store.catalog import schema as t
from bebr.store.catalog.sql import Sql

T = TypeVar("T")

# Of a connection: seconds to make it, milliseconds until bytes that nobody acknowledges end it.
_CONNECTING, _UNANSWERED = 10, 15_000
# Of a session, in milliseconds. A process that is frozen within a transaction holds the rows that it locked no longer
# than the first; one that waits for such rows is told so after the second.
_SETTINGS = {"idle_in_transaction_session_timeout": "30000", "lock_timeout": "20000"}
# A server may be set to acknowledge what is not on disk yet.
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"

# SQLSTATEs, or how they begin (PostgreSQL's documentation, appendix A).
_UNREACHABLE = ("08", "57P", "25P03")
_FULL = ("53", "54")
_WAITED = ("55P03", "40P01", "40001", "57014")
_REFUSED = ("28", "42501", "3D000")
_DAMAGED = ("XX", "58")
_NO_SCHEMA = "3F000"

NAMES_LOCK = 0x62656272  # "bebr": of the transactions that make, drop and rename, by schema


class Postgres(Sql):
    """Of the schema that a URL leads to: the first of its search_path. Reads see one state, by REPEATABLE READ.

    `unsure`: called when it is not known whether a transaction was committed, before its ConnectionError is raised.
    """

    most_bytes = 400 << 20  # it sends two digits a byte, and fails from 1 GB on

    def __init__(self, url: sa.URL, unsure: Callable[[], None]) -> None:
        self._unsure = unsure
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            max_overflow=-1,
            pool_pre_ping=True,  # after a restart of the server, each connection of before it is made anew
            connect_args={
                "connect_timeout": _CONNECTING,
                "tcp_user_timeout": _UNANSWERED,
                "application_name": "bebr",
                "client_encoding": "utf8",
            },
        )
        event.listen(engine, "connect", _prepare)
        reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        super().__init__(url.render_as_string(hide_password=True), reader, engine)

    def glance(self, query: sa.Select[Any] | sa.TextClause, costs: str) -> list[Any]:
        """The first column of what one query finds, without a transaction around it, so that the server is asked
        twice and not four times. For what is looked at again and again."""
        self._check_open()
        try:
            with self._single.connect() as db:
                return list(db.scalars(query))
        except SQLAlchemyError as error:
            raise self._translated(error, costs) from error

    def _write_once(self, work: Callable[[sa.Connection], T], done: Callable[[T], None]) -> T:
        try:
            return super()._write_once(work, done)
        except ConnectionError:
            self._unsure()
            raise

    def _translated(self, error: SQLAlchemyError, costs: str) -> Exception:
        if not isinstance(error, DBAPIError):
            return error
        text = " ".join(str(error.orig).split())
        state = getattr(error.orig, "sqlstate", None)
        written = costs == "nothing was written"
        spared = costs if written else "nothing was changed"  # else it is what damage would cost, which this is not
        lost = error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
        if (state is None and lost) or (state or "").startswith(_UNREACHABLE):
            # A commit that was on its way may have been done.
            unsure = "whether it was written is not known" if written else spared
            return ConnectionError(f"{self.name} cannot be reached: {text}; {unsure}: repeat it")
        if state is None:
            return error
        if state.startswith(_FULL):
            return LimitExceeded(f"{self.name} has no more to give: {text}; {spared}; free some and repeat")
        if state.startswith(_WAITED):
            return DatabaseLocked(f"{self.name} is held by another transaction: {text}; {spared}; repeat it")
        if state.startswith(_REFUSED):
            return PermissionError(f"{self.name}: {text}; {spared}")
        if state == _NO_SCHEMA:
            return ValueError(f"{self.name}: {text}; want the schema of its search_path to be there: create schema …")
        if state.startswith(_DAMAGED):
            return CorruptFile(f"{self.name} is damaged: {text}; {costs}")
        return error


def _prepare(connection: Any, _record: Any) -> None:
    for name, value in _SETTINGS.items():
        connection.execute(f"SET {name} = {value}")
    connection.execute(_DURABLE)
    connection.commit()


def lock_names(db: sa.Connection) -> None:
    """Until the transaction ends, no other one that does this goes on."""
    schema = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
    db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({NAMES_LOCK}, {schema}::int)")


def is_empty(db: sa.Connection) -> bool:
    """Whether the schema has none of our tables."""
    return not sa.inspect(db).has_table(t.meta.name)


def definitions(db: sa.Connection) -> str:
    """What the database says the tables of a catalog are, as a checksum."""
    rows = db.exec_driver_sql(
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text FROM "
        "information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2"
    )
    ours = [tuple(row) for row in rows if row[0] in t.metadata.tables]
    return f"{zlib.crc32(repr(ours).encode()):08x}"
