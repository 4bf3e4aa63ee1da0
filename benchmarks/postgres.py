"""Debian's server of PostgreSQL in a folder of its own, over a socket there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["USER", "Postgres", "programs"]

USER = "postgres"
_SERVERS = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """The newest server's folder of programs; None where none is installed."""
    found = [path for path in _SERVERS.glob("*/bin") if path.parent.name.isdigit()]
    return max(found, key=lambda path: int(path.parent.name), default=None)


class Postgres:
    """`settings`: "name=value" of the server's. It refuses to run as root: there, it runs as the user "postgres"."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        found = programs()
        if found is None:
            raise FileNotFoundError("PostgreSQL's server is missing: apt-get install postgresql")
        self._programs, self.folder, self._data = found, folder, folder / "data"
        self._settings = ["listen_addresses=''", f"unix_socket_directories='{folder}'", *settings]
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        options = ("--no-sync", "--no-instructions", "--auth=trust", "--locale=C", "--encoding=UTF8")
        self._run("initdb", *options, f"--username={USER}", "-D", str(self._data))
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/postgres?host={self.folder}"

    @property
    def pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        """Unless it runs."""
        if not (self._data / "postmaster.pid").exists():
            options = " ".join(f"-c {setting}" for setting in self._settings)
            log = str(self.folder / "log")
            self._run("pg_ctl", "start", "--wait", "-D", str(self._data), "-l", log, "-o", options)

    def stop(self) -> None:
        """As if it had been killed: the next start recovers."""
        self._run("pg_ctl", "stop", "--mode=immediate", "-D", str(self._data))

    def _run(self, program: str, *arguments: str) -> None:
        # Not by `user=` of subprocess, which forks: gRPC's handlers of forks have crashed 2 of 5 children that did.
        user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
        command = [*user, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, timeout=120, cwd=self.folder, stdout=subprocess.DEVNULL)
