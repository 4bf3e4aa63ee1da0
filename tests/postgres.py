"""Debian's PostgreSQL, in a temporary folder: one server a test process, and a schema a database."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.postgres import Postgres

# What is killed here is processes, not machines: nothing needs to be on disk.
_SETTINGS = (
    *("shared_buffers=16MB", "max_connections=60", "fsync=off", "full_page_writes=off", "autovacuum=off", "jit=off"),
    *("wal_level=minimal", "max_wal_senders=0", "log_min_messages=fatal"),
)


class Server(Postgres):
    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="bebr-pg-")), _SETTINGS)
        self._schemas = itertools.count()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, command: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """As anybody else would, in a transaction of its own."""
        import psycopg

        with psycopg.connect(url or self.url) as connection:
            cursor = connection.execute(command)
            return cursor.fetchall() if cursor.description else []

    def schema(self) -> str:
        """The URL of an empty schema."""
        name = f"s{next(self._schemas)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"
