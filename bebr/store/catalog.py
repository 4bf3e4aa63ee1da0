"""The catalog: one transactional database that says which models, collections, segments and unsealed writes exist.

Every row carries a checksum that is compared whenever the row is read, and a collection's own row counts its segments
and its journal: a changed, lost or added row is an error that names it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from bebr.collection.protocol import AlreadyExists
from bebr.errors import CorruptFile
from bebr.store import schema as t
from bebr.store.records import Bitmap, CollectionRow, Manifest, Operation, SegmentRow
from bebr.store.sql_errors import translated

_LOST = "restore the folder from a backup, or drop the collection"


class Catalog:
    """Reads may come from any thread; writes are serialised here, since SQLite has one writer.

    Nothing that SQL says of a damaged file leaves this class but as CorruptFile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._engine = t.open_engine(path)
        self._collections: dict[str, CollectionRow | CorruptFile] = {}
        try:
            with self._writing() as db:
                self._prepare(db)
            self._load()
        except BaseException:
            self._engine.dispose()
            raise

    def _prepare(self, db: sa.Connection) -> None:
        if not sa.inspect(db).get_table_names():
            t.metadata.create_all(db)
            values = {"schema": str(t.VERSION), "next_collection": "1"}
            db.execute(sa.insert(t.meta), [t.signed(t.meta, key=k, value=v) for k, v in values.items()])
        found = db.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == "schema"))
        if found != str(t.VERSION):
            raise CorruptFile(f"{self._path} has schema {found}: this version of bebr reads schema {t.VERSION}")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """One transaction, so that several queries see one state."""
        try:
            with self._engine.begin() as db:
                yield db
        except SQLAlchemyError as error:
            raise translated(error, self._path) from error

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """One transaction; committed, and so on disk, when the block ends without an error."""
        try:
            with self._write_lock, self._engine.execution_options(writes=True).begin() as db:
                yield db
        except SQLAlchemyError as error:
            raise translated(error, self._path) from error

    def _verified(self, table: sa.Table, row: sa.Row[Any], what: str, costs: str) -> dict[str, Any]:
        """A row as a dict, once its checksum is found right."""
        values = dict(row._mapping)
        try:
            found = t.checksum(table, values)
        except (TypeError, UnicodeEncodeError) as error:
            raise CorruptFile(f"{self._path}: table {table.name!r}, {what}: {error}; {costs}") from error
        if found != values["crc"]:
            raise CorruptFile(
                f"{self._path}: table {table.name!r}, {what}: checksum expected {_hex(values['crc'])}, "
                f"found {_hex(found)}; {costs}"
            )
        return values

    # Models

    def add_model(self, digest: str) -> None:
        with self._writing() as db:
            if db.scalar(sa.select(t.models.c.digest).where(t.models.c.digest == digest)) is None:
                db.execute(sa.insert(t.models).values(**t.signed(t.models, digest=digest)))

    def models(self) -> list[str]:
        """Digests, sorted."""
        costs = "it says which models were registered, and costs no collection"
        with self._reading() as db:
            rows = db.execute(sa.select(t.models)).all()
        return sorted(self._verified(t.models, row, f"model {row.digest!r}", costs)["digest"] for row in rows)

    # Collections

    def _load(self) -> None:
        """Which collections there are, damaged ones included. Names are looked up in this answer: an index of the
        database could be damaged where its table is not."""
        with self._reading() as db:
            rows = db.execute(sa.select(t.collections)).all()
        self._collections = {}
        for row in rows:
            try:
                good = self._verified(
                    t.collections, row, f"collection {row.name!r}", f"it costs this collection: {_LOST}"
                )
            except CorruptFile as error:
                self._collections[str(row.name)] = error
            else:
                self._collections[row.name] = CollectionRow(row.id, good["name"], good["model"])

    def create_collection(self, name: str, model: str) -> CollectionRow:
        """AlreadyExists for a name that is taken."""
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        counts = {"version": 0, "sealed": 0, "segments": 0, "operations": 0, "journal_bytes": 0}
        try:
            with self._writing() as db:
                if name in self._collections:
                    raise AlreadyExists(
                        f"collection {name!r} already exists: use collection({name!r}) or drop it first"
                    )
                id = self._next_collection(db)
                row = t.signed(t.collections, id=id, name=name, model=model, created=created, **counts)
                db.execute(sa.insert(t.collections).values(**row))
                self._collections[name] = CollectionRow(id, name, model)
        except AlreadyExists:
            raise
        except BaseException:
            self._load()
            raise
        return self.collection(name)

    def _next_collection(self, db: sa.Connection) -> int:
        key = t.meta.c.key == "next_collection"
        row = db.execute(sa.select(t.meta).where(key)).one_or_none()
        costs = "no collection can be created: " + _LOST
        if row is None:
            raise CorruptFile(f"{self._path}: table 'meta' has no 'next_collection'; {costs}")
        id = int(self._verified(t.meta, row, "key 'next_collection'", costs)["value"])
        following = t.signed(t.meta, key="next_collection", value=str(id + 1))
        db.execute(sa.update(t.meta).where(key).values(**following))
        return id

    def collection(self, name: str) -> CollectionRow:
        """KeyError if there is none, CorruptFile if what the catalog says of it is damaged."""
        found = self._collections.get(name)
        if found is None:
            raise KeyError(f"no collection {name!r}")
        if isinstance(found, CorruptFile):
            raise CorruptFile(*found.args)
        return found

    def collections(self) -> list[str]:
        """Names, sorted, of damaged collections too."""
        return sorted(self._collections)

    def drop_collection(self, name: str) -> list[str]:
        """Removes the collection and everything of it; returns its segment files, now to be deleted."""
        try:
            with self._writing() as db:
                if name not in self._collections:
                    raise KeyError(f"no collection {name!r}")
                found = db.scalar(sa.select(t.collections.c.id).where(t.collections.c.name == name))
                files = list(db.scalars(sa.select(t.segments.c.file).where(t.segments.c.collection == found)))
                _remove(db, files)
                for table in (t.operations, t.segments):
                    db.execute(sa.delete(table).where(table.c.collection == found))
                db.execute(sa.delete(t.collections).where(t.collections.c.id == found))
                del self._collections[name]
        except KeyError:
            raise
        except BaseException:
            self._load()
            raise
        return files

    # Contents

    def files(self) -> set[str]:
        """Every segment file of every collection."""
        with self._reading() as db:
            return set(db.scalars(sa.select(t.segments.c.file)))

    def removed(self) -> list[str]:
        """Segment files that no collection uses any more."""
        with self._reading() as db:
            return list(db.scalars(sa.select(t.removed.c.file)))

    def forget(self, files: Sequence[str]) -> None:
        """Files of `removed` that are deleted."""
        with self._writing() as db:
            for file in files:
                db.execute(sa.delete(t.removed).where(t.removed.c.file == file))

    def manifest(self, collection: int) -> Manifest:
        """What the collection consists of. KeyError if it was dropped."""
        with self._reading() as db:
            row = self._row(db, collection)
            segments = self._segments(db, row)
        return Manifest(
            row["version"],
            tuple(SegmentRow(s["file"], s["rows"], s["bytes"], s["digest"], s["dead"]) for s in segments),
            *(row["operations"], row["sealed"], row["journal_bytes"]),
        )

    def _row(self, db: sa.Connection, collection: int) -> dict[str, Any]:
        row = db.execute(sa.select(t.collections).where(t.collections.c.id == collection)).one_or_none()
        if row is None:
            raise KeyError(f"no collection of number {collection}: it was dropped")
        return self._verified(t.collections, row, f"collection {row.name!r}", f"it costs this collection: {_LOST}")

    def _segments(self, db: sa.Connection, of: Mapping[str, Any]) -> list[dict[str, Any]]:
        c = t.segments.c
        rows = db.execute(sa.select(t.segments).where(c.collection == of["id"]).order_by(c.number)).all()
        what = f"collection {of['name']!r}"
        self._count(t.segments, len(rows), of["segments"], what)
        costs = f"it costs this collection: {_LOST}"
        return [self._verified(t.segments, row, f"{what}, file {row.file!r}", costs) for row in rows]

    def _count(self, table: sa.Table, found: int, expected: int, what: str) -> None:
        if found != expected:
            raise CorruptFile(
                f"{self._path}: table {table.name!r} has {found} rows of {what}, which counts {expected}; "
                f"it costs this collection: {_LOST}"
            )

    def operations(self, collection: int) -> Iterator[Operation]:
        """The writes since the last seal, in order; one of many rows comes in several parts of the same version."""
        c = t.operations.c
        query = sa.select(t.operations).where(c.collection == collection).order_by(c.version, c.part)
        with self._reading() as db:
            of = self._row(db, collection)
            what = f"collection {of['name']!r}"
            found = 0
            for row in db.execution_options(yield_per=8).execute(query):
                costs = f"it costs this collection, whose writes from there on depend on it: {_LOST}"
                self._verified(t.operations, row, f"{what}, write {row.version} part {row.part}", costs)
                found += 1
                yield Operation.of_part(row)
            self._count(t.operations, found, of["operations"], what)

    def commit(self, items: Sequence[tuple[int, Operation]]) -> list[int]:
        """Records writes (number of the collection, operation), in order and in one transaction; returns each write's
        version. KeyError for a dropped collection: then none is recorded."""
        with self._writing() as db:
            rows = {id: self._row(db, id) for id in {id for id, _ in items}}
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
        with self._writing() as db:
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
        return int(row["version"])


def _update(db: sa.Connection, row: dict[str, Any]) -> None:
    fresh = t.signed(t.collections, **{key: value for key, value in row.items() if key != "crc"})
    db.execute(sa.update(t.collections).where(t.collections.c.id == row["id"]).values(**fresh))


def _remove(db: sa.Connection, files: Sequence[str]) -> None:
    if files:
        db.execute(sa.insert(t.removed), [t.signed(t.removed, file=file) for file in files])


def _hex(crc: Any) -> str:
    return f"{crc:08x}" if isinstance(crc, int) else repr(crc)
