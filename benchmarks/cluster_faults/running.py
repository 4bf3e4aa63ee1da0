"""A cluster of three nodes on this machine, with a PostgreSQL and an object store of its own, and how it is harmed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bebr.cluster.ray_local import LocalNodes

_NAME = "faults"
_SERVERS = Path("/usr/lib/postgresql")
_USER = "postgres"
# moto's server: no real S3 installs from PyPI or Debian. Its process can be frozen and killed.
_STORE = (
    "from moto.server import ThreadedMotoServer as S; s = S('127.0.0.1', {port}, False); s.start(); s._thread.join()"
)


class Postgres:
    """Debian's server, over a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        found = [path for path in _SERVERS.glob("*/bin") if path.parent.name.isdigit()]
        if not found:
            raise FileNotFoundError("PostgreSQL's server is missing: apt-get install postgresql")
        self._programs = max(found, key=lambda path: int(path.parent.name))
        self._folder, self._as_user = folder, dict[str, Any](cwd=folder, stdout=subprocess.DEVNULL)
        if os.geteuid() == 0:
            shutil.chown(folder, _USER)
            self._as_user["user"] = _USER
        self._run("initdb", "--auth=trust", f"--username={_USER}", "-D", str(folder / "data"))
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}@/postgres?host={self._folder}"

    def start(self) -> None:
        options = f"-c listen_addresses='' -c max_connections=100 -c unix_socket_directories='{self._folder}'"
        self._run("pg_ctl", "start", "--wait", "-D", str(self._folder / "data"), "-l", "log", "-o", options)

    def stop(self) -> None:
        """As if it had been killed: the next start recovers."""
        self._run("pg_ctl", "stop", "--mode=immediate", "-D", str(self._folder / "data"))

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self._programs / program, *arguments], check=True, **self._as_user)


class Store:
    """What speaks S3, in a process of its own; its environment is that of everything started from here on."""

    def __init__(self) -> None:
        port = _free_port("127.0.0.1")
        os.environ.update(AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", AWS_DEFAULT_REGION="us-east-1")
        os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")
        self.process = subprocess.Popen([sys.executable, "-c", _STORE.format(port=port)])
        s3fs: Any = import_module("s3fs")
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            time.sleep(0.1)
        s3fs.S3FileSystem().mkdir("bebr")

    url = "s3://bebr/faults"


class Nodes:
    """The cluster: three nodes, three shards, two replicas, two roots."""

    def __init__(self, postgres: Postgres, store: Store, wait: float) -> None:
        self._wait = wait
        port = _free_port("127.0.0.2")
        about = ("--shards", "3", "--replicas", "2", "--roots", "2", "--port", str(port), "--lease-seconds", "5")
        self._bebr("up", postgres.url, "--segments", store.url, "--local", "3", *about)
        self._nodes = LocalNodes(_NAME)
        self.address = str(self._nodes.address)

    name = _NAME

    def of_node(self, number: int) -> list[int]:
        """The processes of a node, leaves and roots among them."""
        return _descended(self._nodes.pids()[number])

    def restore(self) -> None:
        """Has three nodes again."""
        self._bebr("scale", "--local", "3")

    def down(self) -> None:
        subprocess.run([*_BEBR, "down", "--name", _NAME], check=True)

    def _bebr(self, *arguments: str) -> None:
        command = [*_BEBR, *arguments, "--name", _NAME, "--wait", str(self._wait)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


_BEBR = (sys.executable, "-m", "bebr", "cluster")


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """A signal to processes that may be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """For the length of the block."""
    send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pids, signal.SIGCONT)


def _descended(pid: int) -> list[int]:
    """A process, and all that it has started, and they."""
    parents = dict[int, int]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, new = [pid], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def _free_port(host: str) -> int:
    with socket.socket() as free:
        free.bind((host, 0))
        return int(free.getsockname()[1])
