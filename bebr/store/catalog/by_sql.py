"""The catalog: one transactional database that says which models, collections, segments and unsealed writes exist.

Every row carries a checksum that is compared whenever the row is read, and a collection's own row counts its segments
and its journal: a changed, lost or added row is an error that names it, and costs its collection only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from bebr.errors import CorruptFile
from bebr.store.catalog import schema as t
from bebr.store.catalog.listing import LOST
from bebr.store.catalog.records import Bitmap, CollectionRow, Manifest, Operation, SegmentRow
from bebr.store.catalog.successors import Successors
from bebr.store.catalog.tables import note_removed, update_rows
from bebr.store.catalog.versions import Slot

_SEGMENT = tuple(field.name for field in fields(SegmentRow))
_INSERT = sa.insert(t.operations)  # made once: making it takes longer than SQLite's work


class SqlCatalog(Successors):
    """A catalog in a database that SQLAlchemy reaches: what SQLite and PostgreSQL have in common, which is all but how
    they are opened and who may write. Safe to use from many threads.

    Nothing that SQL says of a damaged file leaves this class but as CorruptFile.
    """

    # Files

    def files(self) -> set[str]:
        """Every segment file of every collection. CorruptFile where it is not certain that these are all."""
        costs = "files of segments that no collection lists are not looked for"
        with self._sql.read(costs) as db:
            rows = db.execute(sa.select(t.segments)).all()
            expected = db.scalar(sa.select(sa.func.coalesce(sa.func.sum(t.collections.c.segments), 0)))
        if len(rows) != expected:
            raise CorruptFile(
                f"{self._sql.name}: table 'segments' has {len(rows)} rows, and collections count {expected}; {costs}"
            )
        return {self._sql.verified(t.segments, row, f"file {row.file!r}", costs)["file"] for row in rows}

    def removed(self) -> list[str]:
        """Segment files that no collection uses any more, and which may still be there."""
        costs = "segment files that are no longer used stay"
        with self._sql.read(costs) as db:
            rows = db.execute(sa.select(t.removed)).all()
        return [self._sql.verified(t.removed, row, f"file {row.file!r}", costs)["file"] for row in rows]

    def forget(self, files: Sequence[str]) -> None:
        """Files of `removed` that are deleted."""

        def work(db: sa.Connection) -> None:
            for file in files:
                db.execute(sa.delete(t.removed).where(t.removed.c.file == file))

        if files:
            self._sql.write(work, frees_space=True)

    # Contents

    def manifest(self, collection: int) -> Manifest:
        """What the collection consists of. KeyError if it was dropped."""
        with self._sql.read(LOST) as db:
            return self._manifest(db, self._row(db, collection))

    @contextmanager
    def contents(self, collection: int, after: int | None = None) -> Iterator[tuple[Manifest, Iterator[Operation]]]:
        """What it consists of, and the writes of its journal, in order, both as of one moment; one of many rows comes
        in several parts of the same version. `after`: only writes after that version. To be read within the block."""
        with self._sql.read(LOST) as db:
            row = self._row(db, collection)
            yield self._manifest(db, row), map(Operation.of_part, self._parts(db, row, after))

    def _manifest(self, db: sa.Connection, row: Mapping[str, Any]) -> Manifest:
        segments = self._segments(db, row)
        return Manifest(
            row["version"],
            tuple(SegmentRow(*(segment[name] for name in _SEGMENT)) for segment in segments),
            *(row["operations"], row["sealed"], row["journal_bytes"]),
        )

    def _segments(self, db: sa.Connection, of: Mapping[str, Any]) -> list[dict[str, Any]]:
        c = t.segments.c
        rows = db.execute(sa.select(t.segments).where(c.collection == of["id"]).order_by(c.number)).all()
        what = f"collection {of['name']!r}"
        self._count(t.segments, len(rows), of["segments"], what)
        return [self._sql.verified(t.segments, row, f"{what}, file {row.file!r}", LOST) for row in rows]

    def _count(self, table: sa.Table, found: int, expected: int, what: str) -> None:
        if found != expected:
            raise CorruptFile(
                f"{self._sql.name}: table {table.name!r} has {found} rows of {what}, which counts {expected}; {LOST}"
            )

    def operations(self, collection: int) -> Iterator[Operation]:
        """The writes of its journal, as of `contents`."""
        return map(Operation.of_part, self._journal(collection))

    def _journal(self, collection: int) -> Iterator[sa.Row[Any]]:
        """The rows of its journal, in order."""
        with self._sql.read(LOST) as db:
            yield from self._parts(db, self._row(db, collection))

    def _parts(self, db: sa.Connection, of: Mapping[str, Any], after: int | None = None) -> Iterator[sa.Row[Any]]:
        c, what = t.operations.c, f"collection {of['name']!r}"
        query = sa.select(t.operations).where(c.collection == of["id"]).order_by(c.version, c.part)
        found = 0
        if after is not None:
            query = query.where(c.version > after)
            older = sa.select(sa.func.count()).where(c.collection == of["id"], c.version <= after)
            found = int(db.scalar(older) or 0)
        for row in db.execution_options(yield_per=8).execute(query):
            self._sql.verified(t.operations, row, f"{what}, write {row.version} part {row.part}", LOST)
            found += 1
            yield row
        self._count(t.operations, found, of["operations"], what)

    def adopt(self, row: CollectionRow, other: SqlCatalog, files: Mapping[str, str]) -> None:
        """Makes a collection of `row`'s name, model and settings of what the collection of its number consists of in
        another catalog. `files`: the names that its segment files have here. AlreadyExists for a name that is taken."""
        there = other.manifest(row.id)

        def work(db: sa.Connection) -> tuple[CollectionRow, int]:
            self._check_free(row.name)
            made = self._insert(db, row.name, row.model, row.settings)
            values = self._row(db, made.id)
            for number, segment in enumerate(there.segments, 1):
                columns = {name: getattr(segment, name) for name in _SEGMENT} | {"file": files[segment.file]}
                signed = t.signed(t.segments, collection=made.id, number=number, **columns)
                db.execute(sa.insert(t.segments).values(**signed))
            for operation in other._journal(row.id):
                columns = {k: v for k, v in operation._mapping.items() if k not in ("crc", "collection")}
                db.execute(_INSERT, [t.signed(t.operations, collection=made.id, **columns)])
            values |= {"version": there.version, "sealed": there.sealed, "segments": len(there.segments)}
            values |= {"operations": there.operations, "journal_bytes": there.journal_bytes}
            update_rows(db, values)
            return made, there.version

        def done(result: tuple[CollectionRow, int]) -> None:
            self._created(*result)

        self._write_names(work, done)

    def commit(self, items: Sequence[tuple[int, Operation]]) -> list[int]:
        """Records writes (number of the collection, operation), in order and in one transaction; returns each write's
        version. KeyError for a dropped collection: then none is recorded."""
        rows: dict[int, dict[str, Any]] = {}

        def work(db: sa.Connection) -> list[int]:
            rows.update((id, self._own_row(db, id)) for id in sorted({id for id, _ in items}))
            versions, parts = [], []
            for id, operation in items:
                row = rows[id]
                row["version"] += 1
                versions.append(row["version"])
                for part, columns in enumerate(operation.parts()):
                    self._sql.check_blobs(columns)
                    key = {"collection": id, "version": row["version"], "part": part}
                    parts.append(t.signed(t.operations, **key, **columns))
                    row["operations"] += 1
                    row["journal_bytes"] += sum(len(v) for v in columns.values() if isinstance(v, bytes))
            if parts:
                db.execute(_INSERT, parts)
            update_rows(db, *rows.values())
            return versions

        frees_space = all(operation.kind == "delete" for _, operation in items)
        return self._sql.write(work, lambda _: self._record(*rows.values()), frees_space)

    def _record(self, *rows: Mapping[str, Any]) -> None:
        for row in rows:
            self._versions.record(Slot(row["id"], row["name"], row["version"]))

    def install(
        self,
        collection: int,
        added: Sequence[SegmentRow],
        removed: Sequence[str],
        dead: Mapping[str, Bitmap],
        through_version: int,
        row_after: CollectionRow | None = None,
    ) -> int:
        """The moment a seal or a merge becomes true; returns the collection's new version.

        The segments `added` join it, the files `removed` leave it, and the writes up to `through_version` leave the
        journal. dead: the removed rows of segments that stay, by file, where they changed. row_after: with the
        collection's settings from then on, where they change.
        """
        s, o = t.segments.c, t.operations.c

        def work(db: sa.Connection) -> dict[str, Any]:
            row = self._own_row(db, collection)
            segments = {segment["file"]: segment for segment in self._segments(db, row)}
            if unknown := (set(removed) | set(dead)) - set(segments):
                raise ValueError(f"{min(unknown)} is no segment of collection {row['name']!r}")
            if not row["sealed"] <= through_version <= row["version"]:
                raise ValueError(
                    f"through_version is {through_version}: want {row['sealed']} to {row['version']}, "
                    f"the writes of collection {row['name']!r} since its last seal"
                )
            for file in removed:
                db.execute(
                    sa.delete(t.segments).where(s.collection == collection, s.number == segments[file]["number"])
                )
            note_removed(db, removed)
            for file, bitmap in dead.items():
                changed = t.signed(
                    t.segments, **{k: v for k, v in segments[file].items() if k != "crc"} | {"dead": bitmap}
                )
                at = (s.collection == collection, s.number == changed["number"])
                db.execute(sa.update(t.segments).where(*at).values(**changed))
            number = 1 + max((segment["number"] for segment in segments.values()), default=0)
            for i, new in enumerate(added):
                columns = {name: getattr(new, name) for name in _SEGMENT}
                record = t.signed(t.segments, collection=collection, number=number + i, **columns)
                db.execute(sa.insert(t.segments).values(**record))
            journal = sa.select(sa.func.count()).where(o.collection == collection)
            self._count(t.operations, int(db.scalar(journal) or 0), row["operations"], f"collection {row['name']!r}")
            db.execute(sa.delete(t.operations).where(o.collection == collection, o.version <= through_version))
            size = sum(
                sa.func.length(c) for c in (o.ids, o.planes, o.factors, o.payloads, o.vectors, o.id_keys, o.bare)
            )
            left = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(size), 0)).where(o.collection == collection)
            row["operations"], row["journal_bytes"] = db.execute(left).one()
            row["segments"] = len(segments) - len(set(removed)) + len(added)
            row["sealed"] = through_version
            row["version"] += 1
            if row_after is not None:
                row["settings"] = row_after.settings.to_json()
            update_rows(db, row)
            return row

        def done(row: Mapping[str, Any]) -> None:
            self._record(row)
            if row_after is not None:
                self._listing.replace(row_after)

        return int(self._sql.write(work, done, frees_space=True)["version"])
