"""Debian's PostgreSQL, in a temporary folder, over a socket in it: one a test process, and a schema a database."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

_SERVERS = Path("/usr/lib/postgresql")
_USER = "postgres"
# What is killed here is processes, not machines: nothing needs to be on disk.
_SETTINGS = (
    *("listen_addresses=''", "shared_buffers=16MB", "max_connections=60", "fsync=off", "full_page_writes=off"),
    *("autovacuum=off", "jit=off", "wal_level=minimal", "max_wal_senders=0", "log_min_messages=fatal"),
)


def programs() -> Path | None:
    """The newest server's folder of programs; None where none is installed."""
    found = [path.parent for path in _SERVERS.glob("*/bin/postgres") if path.parents[1].name.isdigit()]
    return max(found, key=lambda path: int(path.parent.name), default=None)


class Server:
    """It refuses to run as root: there, it runs as the user "postgres"."""

    def __init__(self, bin: Path) -> None:
        self._bin, self._folder = bin, Path(tempfile.mkdtemp(prefix="bebr-pg-"))
        if os.geteuid() == 0:
            shutil.chown(self._folder, _USER)
        self._schemas = itertools.count()
        options = (
            "--no-sync",
            "--auth=trust",
            f"--username={_USER}",
            "--no-instructions",
            "--locale=C",
            "--encoding=UTF8",
        )
        self._run("initdb", *options, "-D", str(self._folder / "data"))
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        # Not by `user=` of subprocess, which forks: gRPC's handlers of forks have crashed children that did.
        user = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
        command = [*user, str(self._bin / program), *arguments]
        subprocess.run(command, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """And waits until it answers."""
        settings = [f"-c {setting}" for setting in (*_SETTINGS, f"unix_socket_directories='{self._folder}'")]
        arguments = ("--wait", "-D", str(self._folder / "data"), "-l", str(self._folder / "log"))
        self._run("pg_ctl", "start", *arguments, "-o", " ".join(settings))

    def stop(self) -> None:
        """At once, as if it had been killed: the next start recovers."""
        self._run("pg_ctl", "stop", "--mode=immediate", "-D", str(self._folder / "data"))

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def execute(self, command: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """As anybody else would, in a transaction of its own."""
        import psycopg

        with psycopg.connect(url or self._url()) as connection:
            cursor = connection.execute(command)
            return cursor.fetchall() if cursor.description else []

    def schema(self) -> str:
        """The URL of an empty schema."""
        name = f"s{next(self._schemas)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self._url()}&options=-csearch_path%3D{name}"

    def _url(self) -> str:
        return f"postgresql://{_USER}@/postgres?host={self._folder}"
