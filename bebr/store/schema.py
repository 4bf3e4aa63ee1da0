"""The catalog's tables, and an engine set up so that a commit means "on disk"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

VERSION = 1

metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("model", sa.ForeignKey("models.digest"), nullable=False),
    sa.Column("created", sa.String, nullable=False),  # ISO 8601, UTC
    sqlite_autoincrement=True,  # the id of a dropped collection never comes back: file names contain it
)

_of_collection = ("collections.id",)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("collection", sa.ForeignKey(*_of_collection, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("file", sa.String, nullable=False, unique=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("dead", sa.LargeBinary, nullable=False),  # int64[...], ids replaced or removed since the file was written
)

# Writes since the last seal, replayed over the segments in the order of seq. planes and factors are empty for a delete.
operations = sa.Table(
    "operations",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("collection", sa.ForeignKey(*_of_collection, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("kind", sa.String, sa.CheckConstraint("kind IN ('upsert', 'delete')"), nullable=False),
    sa.Column("ids", sa.LargeBinary, nullable=False),
    sa.Column("planes", sa.LargeBinary, nullable=False),
    sa.Column("factors", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

payloads = sa.Table(
    "payloads",
    metadata,
    sa.Column("collection", sa.ForeignKey(*_of_collection, ondelete="CASCADE"), primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("json", sa.String, nullable=False),
    sqlite_with_rowid=False,
)


def open_engine(path: Path) -> sa.Engine:
    """An engine on the SQLite file `path`. Transactions started with the execution option `writes=True` take the write
    lock at their start, so that they cannot fail half way for want of it."""
    # Threads are counted elsewhere: one that needs a connection gets one.
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), max_overflow=-1)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions by itself, and later than we need
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=60000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
