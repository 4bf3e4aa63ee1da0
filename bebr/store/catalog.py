"""The catalog: one transactional database that says which models, collections, segments and unsealed writes exist.

Every row carries a checksum that is compared whenever the row is read, and a collection's own row counts its segments
and its journal: a changed, lost or added row is an error that names it, and costs its collection only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bebr.collection.protocol import AlreadyExists
from bebr.errors import CorruptFile
from bebr.files import sync_folder
from bebr.store import schema as t
from bebr.store.folder import Folder
from bebr.store.records import Bitmap, CollectionRow, Manifest, Operation, SegmentRow
from bebr.store.sql import Sql
from bebr.store.versions import Slot, Versions

_log = logging.getLogger("bebr.store")

_LOST = "it costs this collection: restore the folder from a backup, or drop the collection"
_ALL = "it costs every collection: restore catalog.db from a backup"


@dataclass(frozen=True)
class _Entry:
    """A collection: its row and version, or `error`, which says why it cannot be read."""

    id: int
    row: CollectionRow | None = None
    version: int = 0
    error: CorruptFile | None = None


class Catalog:
    """The catalog of a folder, made if there is none. Safe to use from many threads.

    Nothing that SQL says of a damaged file leaves this class but as CorruptFile.
    """

    def __init__(self, folder: Folder) -> None:
        folder.check_catalog()
        self._folder = folder
        self._path = folder.catalog
        self._versions = Versions(folder.versions)
        self._sql = Sql(folder.catalog, folder.reserve)
        self._entries: dict[str, _Entry] = {}  # changed by whoever writes
        self._tombstones: list[int] = []  # numbers of dropped collections
        self._models: set[str] = set()
        self.sound = False
        """Whether no collection is damaged as far as the catalog tells."""
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        with self._sql.read(_ALL) as db:
            empty = db.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
        if empty:
            self._folder.check_unused("holds no tables")
            self._sql.write(_create)
            self._sql.log_ahead()
            sync_folder(self._path.parent)
        self._check_schema()
        self._sql.check_structure("what can be read is served, but nothing more is written; restore it from a backup")
        if self._sql.damage is not None:
            _log.error("%s", self._sql.damage)
        self._load()
        self._settle()

    def _check_schema(self) -> None:
        with self._sql.read(_ALL) as db:
            schema = db.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == "schema"))
            if schema != str(t.VERSION):
                raise CorruptFile(
                    f"{self._path} has schema {schema}: this version of bebr reads schema {t.VERSION} and converts no "
                    "other; write the collections anew. Nothing was changed"
                )
            if self._meta(db, "definitions", _ALL) != t.definitions(db):
                raise CorruptFile(f"{self._path}: its tables are not defined as they were made; {_ALL}")

    def _meta(self, db: sa.Connection, key: str, costs: str) -> str:
        row = db.execute(sa.select(t.meta).where(t.meta.c.key == key)).one_or_none()
        if row is None:
            raise CorruptFile(f"{self._path}: table 'meta' has no key {key!r}; {costs}")
        return str(self._sql.verified(t.meta, row, f"key {key!r}", costs)["value"])

    def close(self) -> None:
        self._sql.close()
        self._versions.close()

    # Opening

    def _load(self) -> None:
        """Which collections and models there are, damaged ones included. Names are looked up in this answer: an index
        of the database could be damaged where its table is not."""
        entries: dict[str, _Entry] = {}
        fault: CorruptFile | None = None
        seen = set()
        self._tombstones = []
        try:
            with self._sql.read(_ALL) as db:
                for row in db.execute(sa.select(t.collections)):
                    seen.add(row.id)
                    slot = self._versions.found.get(row.id)
                    name, entry = self._entry(row, slot)
                    if entry is not None:
                        entries.setdefault(name, entry)
        except CorruptFile as error:
            if not self._versions.found:
                raise
            fault = error
        for slot in self._versions.found.values():
            if slot.id not in seen and not slot.dropped:
                entries.setdefault(slot.name, _Entry(slot.id, error=fault or self._behind(slot, 0)))
        self._entries = entries
        self._models = self._read_models()

    def _entry(self, row: sa.Row[Any], slot: Slot | None) -> tuple[str, _Entry | None]:
        """A collection's name and entry; None for one that was dropped."""
        name = slot.name if slot else row.name if isinstance(row.name, str) else f"collection {row.id}"
        try:
            good = self._sql.verified(t.collections, row, f"collection {name!r}", _LOST)
        except CorruptFile as error:
            return name, _Entry(row.id, error=error)
        if good["dropped"]:
            self._tombstones.append(row.id)
            return name, None
        found = CollectionRow(row.id, good["name"], good["model"])
        if slot and (slot.dropped or slot.version > good["version"]):
            return name, _Entry(row.id, error=self._behind(slot, good["version"]))
        return name, _Entry(row.id, found, good["version"])

    def _behind(self, slot: Slot, version: int) -> CorruptFile:
        missing = slot.version - version
        what = "its drop" if slot.dropped else f"the last {missing} of {slot.version} acknowledged writes and seals"
        return CorruptFile(
            f"{self._path} lacks {what} of collection {slot.name!r}, says {self._versions.path.name}: its write-ahead "
            "log was damaged or removed, or it is an older copy. Restore the folder from a backup, or drop the "
            f"collection, or delete {self._versions.path.name} to go on, in all collections, with what is left"
        )

    def _read_models(self) -> set[str]:
        models = set()
        costs = "register the model again"
        try:
            with self._sql.read("it says which models were registered, and costs no collection") as db:
                for row in db.execute(sa.select(t.models)).all():
                    try:
                        models.add(self._sql.verified(t.models, row, f"model {row.digest!r}", costs)["digest"])
                    except CorruptFile as error:
                        _log.error("%s", error)
        except CorruptFile as error:
            _log.error("%s", error)
        return models

    def _settle(self) -> None:
        """Where all is well, the file of versions is brought up to the catalog. Else nothing changes: what is left may
        help."""
        versions, live = self._versions, [entry for entry in self._entries.values() if entry.row is not None]
        self.sound = self._sql.damage is None and len(live) == len(self._entries)
        if not self.sound:
            self._folder.keep_copy(self._path.with_name(f"{self._path.name}-wal"), "belongs to a damaged catalog")
            return
        for place, problem in versions.wrong.items():
            _log.warning("%s: slot %d %s; it is written anew", versions.path, place, problem)
        if versions.wrong:
            self._folder.keep_copy(versions.path, "is damaged")
        if live and not versions.found:
            _log.warning("%s has no collection: commits that were lost before now cannot be noticed", versions.path)
        self._sql.log_ahead()
        slots = {entry.id: Slot(entry.id, entry.row.name, entry.version) for entry in live if entry.row}
        if slots != versions.found or versions.wrong:
            versions.rewrite(list(slots.values()))
        if self._tombstones:
            gone = t.collections.c.id.in_(self._tombstones)
            self._sql.write(lambda db: db.execute(sa.delete(t.collections).where(gone)))

    # Models

    def add_model(self, digest: str) -> None:
        def work(db: sa.Connection) -> None:
            db.execute(sa.delete(t.models).where(t.models.c.digest == digest))
            db.execute(sa.insert(t.models).values(**t.signed(t.models, digest=digest)))

        self._sql.write(work)
        self._models.add(digest)

    def models(self) -> list[str]:
        """Digests, sorted."""
        return sorted(self._models)

    def has_model(self, digest: str) -> bool:
        return digest in self._models

    # Collections

    def create_collection(self, name: str, model: str) -> CollectionRow:
        """AlreadyExists for a name that is taken."""
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        counts = {"dropped": 0, "version": 0, "sealed": 0, "segments": 0, "operations": 0, "journal_bytes": 0}
        taken = AlreadyExists(f"collection {name!r} already exists: use collection({name!r}) or drop it first")

        def work(db: sa.Connection) -> CollectionRow:
            if name in self._entries:
                raise taken
            key = "next_collection"
            id = int(self._meta(db, key, "no collection can be created: restore catalog.db from a backup"))
            id = max(id, 1 + max(self._versions.found, default=0))
            following = t.signed(t.meta, key=key, value=str(id + 1))
            db.execute(sa.update(t.meta).where(t.meta.c.key == key).values(**following))
            row = t.signed(t.collections, id=id, name=name, model=model, created=created, **counts)
            try:
                db.execute(sa.insert(t.collections).values(**row))
            except IntegrityError as error:  # it was created, but the call was interrupted before it returned
                raise taken from error
            return CollectionRow(id, name, model)

        def done(row: CollectionRow) -> None:
            self._versions.record(Slot(row.id, name, 0))
            self._entries[name] = _Entry(row.id, row)

        return self._sql.write(work, done)

    def collection(self, name: str) -> CollectionRow:
        """KeyError if there is none, CorruptFile if what the catalog says of it is damaged."""
        found = self._entries.get(name)
        if found is None:
            raise KeyError(f"no collection {name!r}")
        if found.row is None:
            raise CorruptFile(*(found.error.args if found.error else ()))
        return found.row

    def collections(self) -> list[str]:
        """Names, sorted, of damaged collections too."""
        return sorted(list(self._entries))  # a list at once, since a writer may add one

    def drop_collection(self, name: str) -> list[str]:
        """Removes the collection and everything of it; returns its segment files, now to be deleted. A damaged one goes
        too; files that damaged rows name stay. KeyError if there is none."""
        found = self._entries.get(name)
        if found is None:
            raise KeyError(f"no collection {name!r}")
        c, s = t.collections, t.segments
        nothing = {"model": "", "created": "", "version": 0, "sealed": 0}
        counts = {"segments": 0, "operations": 0, "journal_bytes": 0}
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
            for table in (t.operations, t.segments):
                db.execute(sa.delete(table).where(table.c.collection == found.id))
            db.execute(sa.delete(c).where(c.c.id == found.id))
            db.execute(sa.insert(c).values(**grave))
            return files

        def done(_: list[str]) -> None:
            slot = self._versions.found.get(found.id)
            self._versions.record(Slot(found.id, name, slot.version if slot else 0, dropped=True))
            self._entries.pop(name, None)

        return self._sql.write(work, done, frees_space=True)

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

        self._sql.write(work)

    # Contents

    def manifest(self, collection: int) -> Manifest:
        """What the collection consists of. KeyError if it was dropped."""
        with self._sql.read(_LOST) as db:
            row = self._row(db, collection)
            segments = self._segments(db, row)
        return Manifest(
            row["version"],
            tuple(SegmentRow(s["file"], s["rows"], s["bytes"], s["digest"], s["dead"]) for s in segments),
            *(row["operations"], row["sealed"], row["journal_bytes"]),
        )

    def _row(self, db: sa.Connection, collection: int) -> dict[str, Any]:
        row = db.execute(sa.select(t.collections).where(t.collections.c.id == collection)).one_or_none()
        if row is None or row.dropped == 1:
            raise KeyError(f"no collection of number {collection}: it was dropped")
        return self._sql.verified(t.collections, row, f"collection {row.name!r}", _LOST)

    def _segments(self, db: sa.Connection, of: Mapping[str, Any]) -> list[dict[str, Any]]:
        c = t.segments.c
        rows = db.execute(sa.select(t.segments).where(c.collection == of["id"]).order_by(c.number)).all()
        what = f"collection {of['name']!r}"
        self._count(t.segments, len(rows), of["segments"], what)
        return [self._sql.verified(t.segments, row, f"{what}, file {row.file!r}", _LOST) for row in rows]

    def _count(self, table: sa.Table, found: int, expected: int, what: str) -> None:
        if found != expected:
            raise CorruptFile(
                f"{self._path}: table {table.name!r} has {found} rows of {what}, which counts {expected}; {_LOST}"
            )

    def operations(self, collection: int) -> Iterator[Operation]:
        """The writes since the last seal, in order; one of many rows comes in several parts of the same version."""
        c = t.operations.c
        query = sa.select(t.operations).where(c.collection == collection).order_by(c.version, c.part)
        with self._sql.read(_LOST) as db:
            of = self._row(db, collection)
            what = f"collection {of['name']!r}"
            found = 0
            for row in db.execution_options(yield_per=8).execute(query):
                self._sql.verified(t.operations, row, f"{what}, write {row.version} part {row.part}", _LOST)
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
                db.execute(sa.insert(t.operations), parts)
            for row in rows.values():
                _update(db, row)
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
                fields = {k: getattr(new, k) for k in ("file", "rows", "bytes", "digest", "dead")}
                record = t.signed(t.segments, collection=collection, number=number + i, **fields)
                db.execute(sa.insert(t.segments).values(**record))
            journal = sa.select(sa.func.count()).where(o.collection == collection)
            self._count(t.operations, int(db.scalar(journal) or 0), row["operations"], f"collection {row['name']!r}")
            db.execute(sa.delete(t.operations).where(o.collection == collection, o.version <= through_version))
            size = sum(sa.func.length(c) for c in (o.ids, o.planes, o.factors, o.payloads))
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


def _update(db: sa.Connection, row: dict[str, Any]) -> None:
    fresh = t.signed(t.collections, **{key: value for key, value in row.items() if key != "crc"})
    db.execute(sa.update(t.collections).where(t.collections.c.id == row["id"]).values(**fresh))


def _remove(db: sa.Connection, files: Sequence[str]) -> None:
    if files:
        db.execute(sa.insert(t.removed), [t.signed(t.removed, file=file) for file in files])
