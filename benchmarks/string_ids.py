"""What ids that are no ints cost a collection: memory, disk, writing and looking up; beside a SQL table of keys.

Each kind of id has a process of its own, whose private writable memory is limited (RLIMIT_DATA); segments are mapped
files and count as the system's cache. ``python -m benchmarks.string_ids --rows 10000000``
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

import bebr
from benchmarks.machine import facts
from benchmarks.memory import status

KINDS: dict[str, Callable[[int], Any]] = {
    "int": lambda n: n,
    "uuid": lambda n: UUID(int=_scattered(n) << 64 | n),
    "string of 36": lambda n: str(UUID(int=_scattered(n) << 64 | n)),
}
_BATCH = 16_384
_DIM, _BYTES = 64, 24
_LOOKUPS = 1000
_FLUSH = 500_000


def _scattered(n: int) -> int:
    return n * 0x9E3779B97F4A7C15 % (1 << 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--limit-mib", type=int, default=1024, help="private writable memory of a process")
    parser.add_argument("--kind", choices=[*KINDS, "table"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        resource.setrlimit(resource.RLIMIT_DATA, (options.limit_mib << 20,) * 2)
        work = table if options.kind == "table" else collection
        print(json.dumps({"kind": options.kind, **work(options.rows, options.kind)}), flush=True)
        return
    print(json.dumps({"rows": options.rows, "limit_mib": options.limit_mib, **facts(2)}), flush=True)
    for kind in [*options.kinds, "table"]:
        given = ["--rows", str(options.rows), "--limit-mib", str(options.limit_mib), "--kind", kind]
        subprocess.run([sys.executable, "-m", "benchmarks.string_ids", *given], check=True)


class Watch:
    """The most anonymous memory that the process had."""

    def __init__(self) -> None:
        self.most = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self.most = max(self.most, status("RssAnon"))
            time.sleep(0.05)


def collection(rows: int, kind: str) -> dict[str, Any]:
    name, watch = KINDS[kind], Watch()
    folder = tempfile.mkdtemp(prefix="string-ids-", dir=".")
    x = np.random.default_rng(0).standard_normal((_BATCH, _DIM), np.float32)
    some = [name(int(n)) for n in np.random.default_rng(1).integers(0, rows, _LOOKUPS)]
    try:
        begin = time.perf_counter()
        with bebr.open(folder) as db:
            docs = db.create_collection("docs", bebr.untrained(_DIM, _BYTES))
            for start in range(0, rows, _BATCH):
                count = min(_BATCH, rows - start)
                docs.upsert([name(n) for n in range(start, start + count)], x[:count])
                if start // _FLUSH < (start + count) // _FLUSH:
                    docs.settle()  # else the rows that wait for their seal may be many, on a slow machine
            written = time.perf_counter() - begin
            docs.settle()
        size = sum(file.stat().st_size for file in Path(folder, "segments").iterdir())
        begin = time.perf_counter()
        with bebr.open(folder) as db:
            docs = db.collection("docs")
            opened = time.perf_counter() - begin
            before = status("RssAnon")
            first = timed(lambda: docs.get(some))
            again = timed(lambda: docs.get(some))
            found = [row is not None for row in docs.get(some)]
            search = timed(lambda: [docs.search(q, 10) for q in x[:20]]) / 20
            after = status("RssAnon")
    finally:
        shutil.rmtree(folder)
    assert all(found)
    return {
        "rows/s": round(rows / written),
        "peak MiB": watch.most >> 20,
        "open MiB": after >> 20,
        "lookups MiB": (after - before) >> 20,
        "bytes a row on disk": round(size / rows, 1),
        "open s": round(opened, 2),
        "first lookup us": round(first / _LOOKUPS * 1e6, 1),
        "lookup us": round(again / _LOOKUPS * 1e6, 1),
        "search ms": round(search * 1e3, 2),
    }


def table(rows: int, kind: str) -> dict[str, Any]:
    """The other design: one table from key to number, an index of SQLite."""
    name, folder = KINDS["string of 36"], tempfile.mkdtemp(prefix="string-ids-", dir=".")
    some = [name(int(n)) for n in np.random.default_rng(1).integers(0, rows, _LOOKUPS)]
    try:
        path = Path(folder, "keys.db")
        db = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID")
        begin = time.perf_counter()
        for start in range(0, rows, _BATCH):
            db.execute("BEGIN")
            pairs = ((name(n), n) for n in range(start, min(start + _BATCH, rows)))
            db.executemany("INSERT INTO keys VALUES (?, ?)", pairs)
            db.execute("COMMIT")
        written = time.perf_counter() - begin
        lookup = timed(lambda: [db.execute("SELECT id FROM keys WHERE key = ?", (key,)).fetchone() for key in some])
        db.close()
        size = path.stat().st_size
    finally:
        shutil.rmtree(folder)
    return {
        "rows/s": round(rows / written),
        "bytes a row on disk": round(size / rows, 1),
        "lookup us": round(lookup / _LOOKUPS * 1e6, 1),
    }


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
