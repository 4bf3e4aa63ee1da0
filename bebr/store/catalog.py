"""The catalog: one transactional database that says which models, collections, segments and unsealed writes exist.

Every row carries a checksum that is compared whenever the row is read, and a collection's own row counts its segments
and its journal: a changed, lost or added row is an error that names it, and costs its collection only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bebr.collection.protocol import AlreadyExists
from bebr.errors import CorruptFile, LimitExceeded
from bebr.files import sync_folder
from bebr.store import schema as t
from bebr.store.folder import Folder
from bebr.store.listing import ALL, LOST, Entry, damaged_rows, read_listing
from bebr.store.records import Bitmap, CollectionRow, Manifest, Operation, SegmentRow, Settings
from bebr.store.sql import Sql
from bebr.store.upgrade import check_readable, upgrade
from bebr.store.versions import Slot, Versions

_log = logging.getLogger("bebr.store")

_COUNTS = ("segments", "operations", "journal_bytes")
_CHANGING = ("model", "settings", "version", "sealed", *_COUNTS, "crc")
_SEGMENT = tuple(field.name for field in fields(SegmentRow))
# The statements of a commit, made once: making them takes longer than SQLite's work.
_ROW = sa.select(t.collections).where(t.collections.c.id == sa.bindparam("collection"))
_UPDATE = sa.update(t.collections).where(t.collections.c.id == sa.bindparam("collection"))
_UPDATE = _UPDATE.values({name: sa.bindparam(name) for name in _CHANGING})
_INSERT = sa.insert(t.operations)


class Catalog:
    """The catalog of a folder, made if there is none. Safe to use from many threads.

    Nothing that SQL says of a damaged file leaves this class but as CorruptFile.
    """

    def __init__(self, folder: Folder, settle: bool = True) -> None:
        """`settle`: bring the files of catalog and versions up to each other; without, nothing is written."""
        folder.check_catalog()
        self._folder = folder
        self._path = folder.catalog
        self._versions = Versions(folder.versions)
        self._sql = Sql(folder.catalog, folder.reserve)
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
            self._sql.write(_create)
            self._sql.log_ahead()
            sync_folder(self._path.parent)
        self._check_schema()
        self._sql.check_structure("what can be read is served, but nothing more is written; restore it from a backup")

    @property
    def sound(self) -> bool:
        """Whether no collection was damaged when it was opened, as far as the catalog tells."""
        return self._sql.damage is None and self._listing.sound

    @property
    def damage(self) -> CorruptFile | None:
        """What is wrong with the structure of the file, to which nothing is written then."""
        return self._sql.damage

    @property
    def notices(self) -> list[str]:
        """Damages that cost no collection, as found when it was opened."""
        return self._listing.notices

    def damaged_rows(self) -> Iterator[tuple[int | None, CorruptFile]]:
        """Every row that is not as it was written, with the number of its collection, where it has one."""
        return damaged_rows(self._sql)

    def _check_schema(self) -> None:
        with self._sql.read(ALL) as db:
            check_readable(self._path, db.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == "schema")))
            schema = self._meta(db, "schema", ALL)
            if self._meta(db, "definitions", ALL) != t.definitions(db):
                raise CorruptFile(f"{self._path}: its tables are not defined as they were made; {ALL}")
        if schema != str(t.VERSION):
            upgrade(self._sql, int(schema))

    def _meta(self, db: sa.Connection, key: str, costs: str) -> str:
        row = db.execute(sa.select(t.meta).where(t.meta.c.key == key)).one_or_none()
        if row is None:
            raise CorruptFile(f"{self._path}: table 'meta' has no key {key!r}; {costs}")
        return str(self._sql.verified(t.meta, row, f"key {key!r}", costs)["value"])

    def close(self) -> None:
        self._sql.close()
        self._versions.close()

    # Opening

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

    # Models

    def add_model(self, digest: str) -> None:
        def work(db: sa.Connection) -> None:
            db.execute(sa.delete(t.models).where(t.models.c.digest == digest))
            db.execute(sa.insert(t.models).values(**t.signed(t.models, digest=digest)))

        self._sql.write(work)
        self._listing.models.add(digest)

    def models(self) -> list[str]:
        """Digests, sorted."""
        return sorted(self._listing.models)

    def has_model(self, digest: str) -> bool:
        return digest in self._listing.models

    # Collections

    def create_collection(self, name: str, model: str, settings: Settings | None = None) -> CollectionRow:
        """AlreadyExists for a name that is taken."""
        settings = settings or Settings()
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        counts = {"dropped": 0, "version": 0, "sealed": 0, **dict.fromkeys(_COUNTS, 0)}
        taken = AlreadyExists(f"collection {name!r} already exists: use collection({name!r}) or drop it first")

        def work(db: sa.Connection) -> CollectionRow:
            if name in self._listing.entries:
                raise taken
            if name in self._listing.aliases:
                raise AlreadyExists(f"{name!r} is an alias of {self._listing.aliases[name]!r}: drop_alias it first")
            key = "next_collection"
            id = int(self._meta(db, key, "no collection can be created: restore catalog.db from a backup"))
            id = max(id, 1 + max(self._versions.found, default=0))
            following = t.signed(t.meta, key=key, value=str(id + 1))
            db.execute(sa.update(t.meta).where(t.meta.c.key == key).values(**following))
            fields = {"model": model, "created": created, "settings": settings.to_json()}
            row = t.signed(t.collections, id=id, name=name, **fields, **counts)
            try:
                db.execute(sa.insert(t.collections).values(**row))
            except IntegrityError as error:  # it was created, but the call was interrupted before it returned
                raise taken from error
            return CollectionRow(id, name, model, settings)

        def done(row: CollectionRow) -> None:
            self._versions.record(Slot(row.id, name, 0))
            self._listing.entries[name] = Entry(row.id, row)

        return self._sql.write(work, done)

    def collection(self, name: str) -> CollectionRow:
        """KeyError if there is none, CorruptFile if what the catalog says of it is damaged."""
        found = self._listing.entries.get(name)
        if found is None:
            raise KeyError(f"no collection {name!r}")
        if found.row is None:
            raise CorruptFile(*(found.error.args if found.error else ()))
        return found.row

    def set_settings(self, row: CollectionRow) -> None:
        """The model and the settings of a collection become those of `row`."""

        def work(db: sa.Connection) -> None:
            values = self._row(db, row.id)
            _update(db, values | {"model": row.model, "settings": row.settings.to_json()})

        self._sql.write(work, lambda _: self._listing.replace(row))

    def number(self, name: str) -> int:
        """Of a collection, be it damaged."""
        return self._listing.entries[name].id

    def collections(self) -> list[str]:
        """Names, sorted, of damaged collections too."""
        return sorted(list(self._listing.entries))  # a list at once, since a writer may add one

    def drop_collection(self, name: str) -> list[str]:
        """Removes the collection and everything of it; returns its segment files, now to be deleted. A damaged one goes
        too; files that damaged rows name stay. KeyError if there is none."""
        found = self._listing.entries.get(name)
        if found is None:
            raise KeyError(f"no collection {name!r}")
        c, s = t.collections, t.segments
        nothing = {"model": "", "created": "", "settings": "", "version": 0, "sealed": 0}
        counts = dict.fromkeys(_COUNTS, 0)
        # No name of a collection has a space.
        grave = t.signed(c, id=found.id, name=f"dropped {found.id}", dropped=1, **nothing, **counts)

        def work(db: sa.Connection) -> list[str]:
            files = []
            for row in db.execute(sa.select(s).where(s.c.collection == found.id)).all():
                try:
                    files.append(self._sql.verified(s, row, f"collection {name!r}, file {row.file!r}", "")["file"])
                except CorruptFile as error:
                    _log.warning("%s its file is left alone", error)
            _remove(db, files)
            db.execute(sa.delete(t.aliases).where(t.aliases.c.target == found.id))
            for table in (t.operations, t.segments):
                db.execute(sa.delete(table).where(table.c.collection == found.id))
            db.execute(sa.delete(c).where(c.c.id == found.id))
            db.execute(sa.insert(c).values(**grave))
            return files

        def done(_: list[str]) -> None:
            slot = self._versions.found.get(found.id)
            self._versions.record(Slot(found.id, name, slot.version if slot else 0, dropped=True))
            self._listing.entries.pop(name, None)
            self._listing.aliases = {a: of for a, of in self._listing.aliases.items() if of != name}

        return self._sql.write(work, done, frees_space=True)

    # Aliases

    def aliases(self) -> dict[str, str]:
        """The collection of each."""
        return dict(sorted(self._listing.aliases.items()))

    def resolved(self, name: str) -> str:
        """The collection of an alias; another name as it is."""
        return self._listing.aliases.get(name, name)

    def set_alias(self, alias: str, name: str) -> None:
        """KeyError if there is no collection `name`, AlreadyExists where `alias` is the name of one."""

        def work(db: sa.Connection) -> None:
            if alias in self._listing.entries:
                raise AlreadyExists(f"{alias!r} is a collection: want a name that none has")
            if name not in self._listing.entries:
                raise KeyError(f"no collection {name!r}")
            db.execute(sa.delete(t.aliases).where(t.aliases.c.name == alias))
            row = t.signed(t.aliases, name=alias, target=self._listing.entries[name].id)
            db.execute(sa.insert(t.aliases).values(**row))

        def done(_: None) -> None:
            self._listing.aliases = {**self._listing.aliases, alias: name}

        self._sql.write(work, done)

    def drop_alias(self, alias: str) -> None:
        """KeyError if there is none."""

        def work(db: sa.Connection) -> None:
            if alias not in self._listing.aliases:
                raise KeyError(f"no alias {alias!r}")
            db.execute(sa.delete(t.aliases).where(t.aliases.c.name == alias))

        def done(_: None) -> None:
            self._listing.aliases = {a: of for a, of in self._listing.aliases.items() if a != alias}

        self._sql.write(work, done, frees_space=True)

    # Files

    def files(self) -> set[str]:
        """Every segment file of every collection. CorruptFile where it is not certain that these are all."""
        costs = "files of segments that no collection lists are not looked for"
        with self._sql.read(costs) as db:
            rows = db.execute(sa.select(t.segments)).all()
            expected = db.scalar(sa.select(sa.func.coalesce(sa.func.sum(t.collections.c.segments), 0)))
        if len(rows) != expected:
            raise CorruptFile(
                f"{self._path}: table 'segments' has {len(rows)} rows, and collections count {expected}; {costs}"
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
            row = self._row(db, collection)
            segments = self._segments(db, row)
        return Manifest(
            row["version"],
            tuple(SegmentRow(*(segment[name] for name in _SEGMENT)) for segment in segments),
            *(row["operations"], row["sealed"], row["journal_bytes"]),
        )

    def _row(self, db: sa.Connection, collection: int) -> dict[str, Any]:
        row = db.execute(_ROW, {"collection": collection}).one_or_none()
        if row is None or row.dropped == 1:
            raise KeyError(f"no collection of number {collection}: it was dropped")
        return self._sql.verified(t.collections, row, f"collection {row.name!r}", LOST)

    def _segments(self, db: sa.Connection, of: Mapping[str, Any]) -> list[dict[str, Any]]:
        c = t.segments.c
        rows = db.execute(sa.select(t.segments).where(c.collection == of["id"]).order_by(c.number)).all()
        what = f"collection {of['name']!r}"
        self._count(t.segments, len(rows), of["segments"], what)
        return [self._sql.verified(t.segments, row, f"{what}, file {row.file!r}", LOST) for row in rows]

    def _count(self, table: sa.Table, found: int, expected: int, what: str) -> None:
        if found != expected:
            raise CorruptFile(
                f"{self._path}: table {table.name!r} has {found} rows of {what}, which counts {expected}; {LOST}"
            )

    def operations(self, collection: int) -> Iterator[Operation]:
        """The writes since the last seal, in order; one of many rows comes in several parts of the same version."""
        c = t.operations.c
        query = sa.select(t.operations).where(c.collection == collection).order_by(c.version, c.part)
        with self._sql.read(LOST) as db:
            of = self._row(db, collection)
            what = f"collection {of['name']!r}"
            found = 0
            for row in db.execution_options(yield_per=8).execute(query):
                self._sql.verified(t.operations, row, f"{what}, write {row.version} part {row.part}", LOST)
                found += 1
                yield Operation.of_part(row)
            self._count(t.operations, found, of["operations"], what)

    def commit(self, items: Sequence[tuple[int, Operation]]) -> list[int]:
        """Records writes (number of the collection, operation), in order and in one transaction; returns each write's
        version. KeyError for a dropped collection: then none is recorded."""
        rows: dict[int, dict[str, Any]] = {}

        def work(db: sa.Connection) -> list[int]:
            rows.update((id, self._row(db, id)) for id in {id for id, _ in items})
            versions, parts = [], []
            for id, operation in items:
                row = rows[id]
                row["version"] += 1
                versions.append(row["version"])
                for part, columns in enumerate(operation.parts()):
                    key = {"collection": id, "version": row["version"], "part": part}
                    parts.append(t.signed(t.operations, **key, **columns))
                    row["operations"] += 1
                    row["journal_bytes"] += sum(len(v) for v in columns.values() if isinstance(v, bytes))
            if parts:
                db.execute(_INSERT, parts)
            _update(db, *rows.values())
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
    ) -> int:
        """The moment a seal or a merge becomes true; returns the collection's new version.

        The segments `added` join it, the files `removed` leave it, and the writes up to `through_version` leave the
        journal. dead: the removed rows of segments that stay, by file, where they changed.
        """
        s, o = t.segments.c, t.operations.c

        def work(db: sa.Connection) -> dict[str, Any]:
            row = self._row(db, collection)
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
            _remove(db, removed)
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
            _update(db, row)
            return row

        return int(self._sql.write(work, self._record, frees_space=True)["version"])


def _create(db: sa.Connection) -> None:
    t.metadata.create_all(db)
    values = {"schema": str(t.VERSION), "definitions": t.definitions(db), "next_collection": "1"}
    db.execute(sa.insert(t.meta), [t.signed(t.meta, key=key, value=value) for key, value in values.items()])


def _update(db: sa.Connection, *rows: dict[str, Any]) -> None:
    fresh = [t.signed(t.collections, **{key: value for key, value in row.items() if key != "crc"}) for row in rows]
    db.execute(_UPDATE, [{"collection": row["id"], **{name: row[name] for name in _CHANGING}} for row in fresh])


def _remove(db: sa.Connection, files: Sequence[str]) -> None:
    if files:
        db.execute(sa.insert(t.removed), [t.signed(t.removed, file=file) for file in files])
