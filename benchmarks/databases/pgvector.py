"""pgvector in a PostgreSQL server of its own: HNSW with iterative scans, and a b-tree of each field."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.databases.base import Absent, Below, Setting, version
from benchmarks.datasets import Floats, Ids
from benchmarks.postgres import USER, Postgres, programs
from benchmarks.wires import Wire, postgres

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_SETTINGS = (
    "shared_buffers=4GB",
    "maintenance_work_mem=4GB",
    "max_wal_size=8GB",
    "max_parallel_maintenance_workers=2",
)
_SCAN = "SET hnsw.iterative_scan = strict_order"


def _width(setting: Setting) -> str:
    return f"SET hnsw.ef_search = {setting['ef_search']}"


def _nearest(where: str, query: str, k: int) -> str:
    return f"SELECT id FROM rows {where} ORDER BY vector <=> {query} LIMIT {k}"


class Pgvector:
    """`strict_order`: a scan that found fewer than k goes on, and the order is that of the distances."""

    settings: Sequence[Setting] = ({"ef_search": 64}, {"ef_search": 256})
    efforts = tuple({"ef_search": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1000))

    def __init__(self, folder: Path, dim: int, fields: Sequence[str]) -> None:
        self._psycopg: Any = importlib.import_module("psycopg")
        self._server = Postgres(folder, _SETTINGS)
        self._dim, self._fields = dim, fields
        self._connection: Any = self._psycopg.connect(self._server.url, autocommit=True)
        self._asked: Setting = {}
        self._execute("CREATE EXTENSION vector")
        columns = "".join(f", {name} bigint" for name in fields)
        self._execute(f"CREATE TABLE rows (id bigint{columns}, vector vector({dim}))")
        self._send_vectors()

    def wire(self, k: int, setting: Setting) -> Wire:
        before = [_SCAN, _width(setting)]
        return postgres.Postgres(str(self._server.folder), USER, before, _nearest("", "$1", k))

    @property
    def pid(self) -> int:
        return self._server.pid

    def _execute(self, command: str) -> None:
        self._connection.execute(command)

    def _send_vectors(self) -> None:
        """Has bytes sent as vectors in their binary form."""
        (number,) = self._connection.execute("SELECT 'vector'::regtype::oid").fetchone()
        kind: Any = self._psycopg.adapt.Dumper
        body = {"format": self._psycopg.pq.Format.BINARY, "oid": number, "dump": lambda self, given: given}
        self._connection.adapters.register_dumper(bytes, type("VectorDumper", (kind,), body))
        self._row = np.dtype([("dim", ">i2"), ("zero", ">i2"), ("values", ">f4", (self._dim,))])

    def _vectors(self, vectors: Floats) -> Any:
        made = np.zeros(len(vectors), self._row)
        made["dim"], made["values"] = vectors.shape[1], vectors
        return made

    def add(self, ids: Ids, vectors: Floats, fields: Mapping[str, Ids]) -> None:
        numbers = {"id": ids, **fields}
        parts: list[Any] = [("count", ">i2")]
        for name in numbers:
            parts += [(f"{name} size", ">i4"), (name, ">i8")]
        rows = np.zeros(len(ids), np.dtype([*parts, ("vector size", ">i4"), ("vector", self._row)]))
        rows["count"], rows["vector size"], rows["vector"] = (
            len(numbers) + 1,
            self._row.itemsize,
            self._vectors(vectors),
        )
        for name, values in numbers.items():
            rows[f"{name} size"], rows[name] = 8, values
        with self._connection.cursor().copy("COPY rows FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_HEADER + rows.tobytes() + _END)

    def finish(self) -> None:
        for name in self._fields:
            self._execute(f"CREATE INDEX ON rows ({name})")
        self._execute("CREATE INDEX ON rows USING hnsw (vector vector_cosine_ops) WITH (m = 16, ef_construction = 64)")
        self._execute("VACUUM ANALYZE rows")
        self._execute(_SCAN)

    def search(self, query: Floats, k: int, below: Below | None, setting: Setting) -> Iterable[int]:
        if setting != self._asked:
            self._asked = setting
            self._execute(_width(setting))
        asked = _nearest("" if below is None else f"WHERE {below.field} < {below.bound}", "%s", k)
        sent = postgres.vector(query)
        return [number for (number,) in self._connection.execute(asked, [sent], prepare=True).fetchall()]

    def close(self) -> None:
        self._connection.close()
        self._server.stop()


def make(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Pgvector, str]:
    version("psycopg")
    found = programs()
    number = "17" if found is None else found.parent.name
    control = Path(f"/usr/share/postgresql/{number}/extension/vector.control")
    if not control.is_file():
        raise Absent("pgvector is not installed (apt install postgresql-17-pgvector): left out")
    installed = control.read_text().partition("default_version = '")[2].partition("'")[0]
    return Pgvector(folder, dim, fields), f"{installed}, PostgreSQL {number}"
