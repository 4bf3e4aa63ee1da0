"""The catalog: one transactional database that says which models, collections, segments, operations and payloads
exist."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from bebr.collection.protocol import AlreadyExists
from bebr.errors import CorruptFile, LimitExceeded
from bebr.store import schema as t

# An upsert is one transaction, but no blob of it gets near SQLite's limit of 1 GB: rows are stored in pieces of this
# many.
OPERATION_ROWS = 65_536
# Ids bound as parameters of one statement; SQLite allows 32,766.
_PARAMETERS = 10_000


@dataclass(frozen=True)
class CollectionRow:
    id: int
    name: str
    model: str


@dataclass(frozen=True)
class SegmentRow:
    """A segment file (name inside the folder of segments), its rows and bytes as written, and the ids of it that died
    since."""

    file: str
    rows: int
    bytes: int
    dead: NDArray[np.int64]


@dataclass(frozen=True)
class Operation:
    """A write not yet sealed: ids int64[n]; planes uint8[n, B] and the bytes of the factors, uint8[n, F], None for
    a delete."""

    seq: int
    ids: NDArray[np.int64]
    planes: NDArray[np.uint8] | None
    factors: NDArray[np.uint8] | None


class Catalog:
    """Reads may come from any thread; writes are serialised here, since SQLite has one writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._engine = t.open_engine(path)
        try:
            self._prepare()
        except DatabaseError as error:
            self._engine.dispose()
            raise CorruptFile(f"{path} is not a bebr catalog: {error.orig}") from error
        except BaseException:
            self._engine.dispose()
            raise

    def _prepare(self) -> None:
        with self._writing() as db:
            if not sa.inspect(db).has_table("meta"):
                t.metadata.create_all(db)
                db.execute(sa.insert(t.meta).values(key="schema", value=str(t.VERSION)))
            found = db.scalar(sa.select(t.meta.c.value).where(t.meta.c.key == "schema"))
        if found != str(t.VERSION):
            raise CorruptFile(f"{self._path} has schema {found}: this version of bebr reads schema {t.VERSION}")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """One transaction; committed, and so on disk, when the block ends without an error."""
        try:
            with self._write_lock, self._engine.execution_options(writes=True).begin() as db:
                yield db
        except OperationalError as error:
            if "full" in str(error.orig):
                raise LimitExceeded(
                    f"no space left for {self._path}: nothing was written; free some and repeat"
                ) from error
            raise

    # Models

    def add_model(self, digest: str, data: bytes) -> None:
        with self._writing() as db:
            if db.scalar(sa.select(t.models.c.digest).where(t.models.c.digest == digest)) is None:
                db.execute(sa.insert(t.models).values(digest=digest, data=data))

    def model(self, digest: str) -> bytes:
        with self._engine.connect() as db:
            data = db.scalar(sa.select(t.models.c.data).where(t.models.c.digest == digest))
        if data is None:
            raise KeyError(f"no model {digest!r}: register it first")
        return bytes(data)

    def models(self) -> list[str]:
        with self._engine.connect() as db:
            return list(db.scalars(sa.select(t.models.c.digest).order_by(t.models.c.digest)))

    # Collections

    def create_collection(self, name: str, model: str) -> CollectionRow:
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            with self._writing() as db:
                db.execute(sa.insert(t.collections).values(name=name, model=model, created=created))
        except IntegrityError as error:
            if "FOREIGN KEY" in str(error.orig):
                raise KeyError(f"no model {model!r}: register it first") from error
            raise AlreadyExists(
                f"collection {name!r} already exists: use collection({name!r}) or drop it first"
            ) from error
        return self.collection(name)

    def collection(self, name: str) -> CollectionRow:
        c = t.collections.c
        with self._engine.connect() as db:
            row = db.execute(sa.select(c.id, c.name, c.model).where(c.name == name)).one_or_none()
        if row is None:
            raise KeyError(f"no collection {name!r}")
        return CollectionRow(row.id, row.name, row.model)

    def collections(self) -> list[str]:
        with self._engine.connect() as db:
            return list(db.scalars(sa.select(t.collections.c.name).order_by(t.collections.c.name)))

    def drop_collection(self, name: str) -> list[str]:
        """Removes the collection and everything of it; returns its segment files, now to be deleted."""
        with self._writing() as db:
            found = db.scalar(sa.select(t.collections.c.id).where(t.collections.c.name == name))
            if found is None:
                raise KeyError(f"no collection {name!r}")
            files = list(db.scalars(sa.select(t.segments.c.file).where(t.segments.c.collection == found)))
            db.execute(sa.delete(t.collections).where(t.collections.c.id == found))
        return files

    # Contents

    def files(self) -> set[str]:
        """Every segment file of every collection."""
        with self._engine.connect() as db:
            return set(db.scalars(sa.select(t.segments.c.file)))

    def segments(self, collection: int) -> list[SegmentRow]:
        c = t.segments.c
        query = sa.select(c.file, c.rows, c.bytes, c.dead).where(c.collection == collection).order_by(c.id)
        with self._engine.connect() as db:
            return [SegmentRow(r.file, r.rows, r.bytes, np.frombuffer(r.dead, "<i8")) for r in db.execute(query)]

    def operations(self, collection: int) -> Iterator[Operation]:
        c = t.operations.c
        query = sa.select(c.seq, c.kind, c.ids, c.planes, c.factors).where(c.collection == collection).order_by(c.seq)
        with self._engine.connect() as db:
            for row in db.execution_options(yield_per=8).execute(query):
                ids = np.frombuffer(row.ids, "<i8")
                if row.kind == "delete" or len(ids) == 0:
                    yield Operation(row.seq, ids, None, None)
                else:
                    planes = np.frombuffer(row.planes, np.uint8).reshape(len(ids), -1)
                    yield Operation(row.seq, ids, planes, np.frombuffer(row.factors, np.uint8).reshape(len(ids), -1))

    def journal_bytes(self, collection: int) -> int:
        c = t.operations.c
        size = sa.func.length(c.ids) + sa.func.length(c.planes) + sa.func.length(c.factors)
        with self._engine.connect() as db:
            return int(
                db.scalar(sa.select(sa.func.coalesce(sa.func.sum(size), 0)).where(c.collection == collection)) or 0
            )

    def commit_upsert(
        self,
        collection: int,
        ids: NDArray[np.int64],
        planes: NDArray[np.uint8],
        factors: NDArray[np.uint8],
        payloads: Sequence[str],
    ) -> None:
        """Records rows and their payloads ("" for none; an empty sequence: none at all) in one transaction."""
        pieces = [slice(i, i + OPERATION_ROWS) for i in range(0, len(ids), OPERATION_ROWS)]
        rows = [
            {
                "collection": collection,
                "kind": "upsert",
                "ids": ids[p].astype("<i8").tobytes(),
                "planes": planes[p].tobytes(),
                "factors": factors[p].tobytes(),
            }
            for p in pieces
        ]
        texts = [
            {"collection": collection, "id": i, "json": text}
            for i, text in zip(ids.tolist(), payloads, strict=bool(payloads))
            if text
        ]
        with self._writing() as db:
            db.execute(sa.insert(t.operations), rows)
            _drop_payloads(db, collection, ids)
            if texts:
                db.execute(sa.insert(t.payloads), texts)

    def commit_delete(self, collection: int, ids: NDArray[np.int64]) -> None:
        with self._writing() as db:
            row = {"kind": "delete", "ids": ids.astype("<i8").tobytes(), "planes": b"", "factors": b""}
            db.execute(sa.insert(t.operations).values(collection=collection, **row))
            _drop_payloads(db, collection, ids)

    def commit_seal(
        self, collection: int, added: SegmentRow | None, dropped: Sequence[str], dead: dict[str, NDArray[np.int64]]
    ) -> None:
        """The moment a seal becomes true: `added` replaces the `dropped` segments and every operation so far; `dead`
        holds all the dead ids of each segment that stays."""
        segments, operations = t.segments, t.operations
        with self._writing() as db:
            for file in dropped:
                db.execute(sa.delete(segments).where(segments.c.file == file))
            for file, ids in dead.items():
                db.execute(sa.update(segments).where(segments.c.file == file).values(dead=ids.astype("<i8").tobytes()))
            if added is not None:
                values = {"file": added.file, "rows": added.rows, "bytes": added.bytes, "dead": b""}
                db.execute(sa.insert(segments).values(collection=collection, **values))
            db.execute(sa.delete(operations).where(operations.c.collection == collection))

    def payloads(self, collection: int, ids: Sequence[int]) -> dict[int, str]:
        """JSON text by id; ids without a payload are absent."""
        c = t.payloads.c
        found: dict[int, str] = {}
        with self._engine.connect() as db:
            for i in range(0, len(ids), _PARAMETERS):
                some = sa.select(c.id, c.json).where(c.collection == collection, c.id.in_(ids[i : i + _PARAMETERS]))
                found.update({row.id: row.json for row in db.execute(some)})
        return found


def _drop_payloads(db: sa.Connection, collection: int, ids: NDArray[np.int64]) -> None:
    c = t.payloads.c
    if db.scalar(sa.select(c.id).where(c.collection == collection).limit(1)) is None:
        return
    values = ids.tolist()
    for i in range(0, len(values), _PARAMETERS):
        db.execute(sa.delete(t.payloads).where(c.collection == collection, c.id.in_(values[i : i + _PARAMETERS])))
