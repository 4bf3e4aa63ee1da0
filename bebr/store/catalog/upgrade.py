"""Catalogs of older versions of bebr: their tables get the columns that came since, in one transaction."""

from __future__ import annotations

import sqlalchemy as sa

from bebr.errors import CorruptFile
from bebr.store.catalog import schema as t
from bebr.store.catalog.sqlite import Sqlite, definitions

# The columns that came with each version; they are empty in older rows.
_ADDED = {
    3: (
        t.collections.c.settings,
        t.segments.c.model,
        t.operations.c.vectors,
        t.operations.c.model,
        t.operations.c.id_keys,
        t.operations.c.bare,
    )
}
_OLDEST = 2


def check_readable(database: object, schema: str | None) -> None:
    """CorruptFile names `database` unless a catalog of version `schema` can be read, or upgraded."""
    if schema in [str(version) for version in range(_OLDEST, t.VERSION + 1)]:
        return
    newer = schema is not None and schema.isdecimal() and int(schema) > t.VERSION
    remedy = "it was written by a newer version: upgrade bebr" if newer else "write the collections anew"
    reads = f"this version of bebr reads schema {_OLDEST} to {t.VERSION}"
    raise CorruptFile(f"{database} has schema {schema}, {reads}; {remedy}. Nothing was changed")


def upgrade(sql: Sqlite, schema: int) -> None:
    """Brings a catalog of version `schema` to this one, whole or not at all. A damaged row stays one: it gets no new
    checksum. CorruptFile for a damaged file."""
    sql.check_structure("it is of an older version and cannot be upgraded: restore it from a backup")
    if sql.damage is not None:
        raise sql.damage
    added = [column for version in range(schema + 1, t.VERSION + 1) for column in _ADDED[version]]

    def work(db: sa.Connection) -> None:
        t.metadata.create_all(db)  # tables that are new
        for column in added:
            kind = column.type.compile(db.dialect)
            empty = "x''" if isinstance(column.type, sa.LargeBinary) else "''"
            db.exec_driver_sql(
                f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind} NOT NULL DEFAULT {empty}"
            )
        for table in dict.fromkeys(column.table for column in added):
            _sign_anew(db, table, {column.name for column in added if column.table is table})
        _set(db, "schema", str(t.VERSION))
        _set(db, "definitions", definitions(db))

    sql.write(work)


def _sign_anew(db: sa.Connection, table: sa.Table, added: set[str]) -> None:
    """Gives every row whose checksum was right one over the new columns too; one row at a time, for a row of the
    journal may be large."""
    keys = list(table.primary_key.columns)
    for key in db.execute(sa.select(*keys)).all():
        at = sa.and_(*(column == value for column, value in zip(keys, key, strict=True)))
        values = dict(db.execute(sa.select(table).where(at)).one()._mapping)
        try:
            sound = t.checksum(table, values, without=added) == values["crc"]
        except (TypeError, UnicodeEncodeError):
            sound = False
        if sound:
            db.execute(sa.update(table).where(at).values(crc=t.checksum(table, values)))


def _set(db: sa.Connection, key: str, value: str) -> None:
    db.execute(sa.update(t.meta).where(t.meta.c.key == key).values(**t.signed(t.meta, key=key, value=value)))
