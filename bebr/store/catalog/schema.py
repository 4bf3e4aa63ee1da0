"""The catalog's tables, in SQLite and PostgreSQL alike, and the checksum that every row carries."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

VERSION = 3

metadata = sa.MetaData()


class _Blob(sa.LargeBinary):
    """As the driver has it: what is of another type is damage, for the checksum to find and not for a conversion."""

    cache_ok = True

    def result_processor(self, dialect: Any, coltype: Any) -> None:
        return None


def _table(name: str, *columns: sa.Column[Any], **options: Any) -> sa.Table:
    """Clustered by its primary key; the last column is the `checksum` of the others."""
    return sa.Table(name, metadata, *columns, sa.Column("crc", sa.BigInteger, nullable=False), **options)


def _key(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _column(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


meta = _table("meta", _key("key", sa.String), _column("value", sa.String), sqlite_with_rowid=False)

# The files of these are models/DIGEST.safetensors.
models = _table("models", _key("digest", sa.String), sqlite_with_rowid=False)

collections = _table(
    "collections",
    _key("id", sa.Integer),  # never used again after a drop: file names contain it
    sa.Column("name", sa.String, nullable=False, unique=True),
    _column("model", sa.String),
    _column("created", sa.String),  # ISO 8601, UTC
    _column("settings", sa.String),  # JSON (records.Settings); empty: none
    _column("dropped", sa.Integer),  # 1 until the file of versions forgot it too
    _column("version", sa.BigInteger),  # of the last write or seal
    _column("sealed", sa.BigInteger),  # writes up to this version are in segments
    _column("segments", sa.Integer),  # how many rows it has in the table of segments,
    _column("operations", sa.Integer),  # in the journal,
    _column("journal_bytes", sa.BigInteger),  # and the bytes of those
)

# Other names of collections.
aliases = _table("aliases", _key("name", sa.String), _column("target", sa.Integer), sqlite_with_rowid=False)

segments = _table(
    "segments",
    _key("collection", sa.Integer),
    _key("number", sa.Integer),  # in the order they were added
    _column("file", sa.String),  # inside the folder of segments
    _column("rows", sa.BigInteger),
    _column("bytes", sa.BigInteger),
    _column("digest", sa.String),
    _column("dead", _Blob),  # a bitmap by row position, little-endian words of 64 bits; empty: none
    _column("model", sa.String),  # of its codes; empty: the collection's
    sqlite_with_rowid=False,
)

# The journal: writes since the last seal. One of many rows takes several parts. planes and factors are empty for a
# delete, payloads and vectors where there are none.
operations = _table(
    "operations",
    _key("collection", sa.Integer),
    _key("version", sa.BigInteger),
    _key("part", sa.Integer),
    _column("kind", sa.String),
    _column("ids", _Blob),
    _column("planes", _Blob),
    _column("factors", _Blob),
    _column("payloads", _Blob),
    _column("vectors", _Blob),  # kept beside the codes
    _column("model", sa.String),  # of the codes; empty: the collection's
    _column("id_keys", _Blob),  # of the ids that are no ints, packed as payloads are; empty: there are none
    _column("bare", _Blob),  # which rows have no vector, a bit each; empty: all have one
    sqlite_with_rowid=False,
)

# Segment files that no collection uses any more: whatever is left of them may be deleted.
removed = _table("removed", _key("file", sa.String), sqlite_with_rowid=False)


def checksum(table: sa.Table, row: Mapping[str, Any], without: Collection[str] = ()) -> int:
    """CRC-32 of a row: the table's name, its key and its fields, but for those that are `without`. TypeError for a
    value of no column's type."""
    crc = zlib.crc32(table.name.encode())
    for column in table.columns:
        if column.name == "crc" or column.name in without:
            continue
        value = row[column.name]
        if isinstance(value, bytes):
            mark, data = b"b", value
        elif isinstance(value, str):
            mark, data = b"s", value.encode()
        elif isinstance(value, int):
            mark, data = b"i", b"%d" % value
        else:
            raise TypeError(f"{table.name}.{column.name} holds a {type(value).__name__}")
        crc = zlib.crc32(data, zlib.crc32(b"%s%d:" % (mark, len(data)), crc))
    return crc


def signed(table: sa.Table, **row: Any) -> dict[str, Any]:
    """`row` with its checksum, ready to be written."""
    return {**row, "crc": checksum(table, row)}
