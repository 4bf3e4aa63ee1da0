"""A cluster of three nodes on this machine, with a PostgreSQL, an object store and, where Debian's is there, a Redis of
its own; how it is looked at, and how its parts are frozen and killed.

Nothing here is connected to Ray, whose head is among what is killed: processes are found by their command lines, and
leaves say themselves what they have.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bebr
from bebr.cluster.census import census
from bebr.cluster.ray_local import LocalNodes
from bebr.store.catalog.leaf_table import LeafTable
from benchmarks.postgres import Postgres

_NAME = "faults"
SHARDS = 3


class Redis:
    """Behind Ray's head, by the environment of everything started from here on. None of it is kept on disk."""

    def __init__(self, folder: Path) -> None:
        port = _free_port("127.0.0.1")
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _until_listening("127.0.0.1", port)
        os.environ["RAY_REDIS_ADDRESS"] = f"127.0.0.1:{port}"

    @staticmethod
    def is_there() -> bool:
        return shutil.which("redis-server") is not None


@dataclass(frozen=True)
class Member:
    """A leaf or root that runs: its process, its kind, and of a leaf its shard, of a root its address."""

    pid: int
    kind: str
    shard: int
    address: str


class Nodes:
    """The cluster: three nodes, three shards, two replicas, two roots."""

    def __init__(self, postgres: Postgres, segments: str, wait: float) -> None:
        self._wait, self._url = wait, postgres.url
        self._nodes = LocalNodes(_NAME)
        port = _free_port("127.0.0.2")
        about = ("--shards", str(SHARDS), "--replicas", "2", "--roots", "2", "--port", str(port))
        try:
            self._bebr("up", self._url, "--segments", segments, "--local", "3", *about, "--lease-seconds", "5")
            self._leaves = LeafTable(self._url)
        except BaseException:
            self.down()
            raise

    def of_node(self, number: int) -> list[int]:
        """The processes of a node, leaves and roots among them."""
        return descended(self._nodes.pids()[number])

    def with_root(self) -> list[int]:
        """The processes of a node that has a root, and not Ray's head."""
        roots = {one.pid for one in self.members() if one.kind == "root"}
        others = [self.of_node(number) for number in self._nodes.pids() if number]
        return next((pids for pids in others if roots & set(pids)), others[0])

    def members(self) -> list[Member]:
        """Those whose processes run, by their command lines."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().decode(errors="replace").split("\0")
                if "bebr.cli.tied" in words and self._url in words:
                    said = dict(itertools.pairwise(words))
                    kind = words[words.index(self._url) - 1]
                    shard = int(said["--shards"]) if kind == "leaf" else -1
                    found.append(Member(int(path.parent.name), kind, shard, f"{said['--host']}:{said['--port']}"))
        return sorted(found, key=lambda one: (one.kind, one.shard, one.address))

    def roots(self) -> list[str]:
        """Their addresses."""
        return [one.address for one in self.members() if one.kind == "root"]

    def are_full(self, replicas: int, rows: int) -> tuple[bool, bool]:
        """Whether every shard has so many leaves that have its rows, and whether both roots answer."""
        try:
            said = census(self._leaves.addresses())
        except Exception:  # of what is being harmed
            said = {}
        there = [sorted(leaves.values()) for shard, leaves in said.items() if shard.name == "docs"]
        leaves = len(there) == SHARDS and all(len(one) == replicas for one in there)
        return leaves and sum(one[0] for one in there) >= rows, self._roots_answer()

    def _roots_answer(self) -> bool:
        try:
            for root in (roots := self.roots()):
                with bebr.connect(root, retries=0, timeout=5) as db:
                    len(db.collection("docs"))
        except Exception:
            return False
        return len(roots) == 2

    def scale(self, *options: str) -> None:
        self._bebr("scale", *options)

    def restore(self) -> None:
        """Has three nodes again."""
        self.scale("--local", "3")

    def down(self) -> None:
        """Ends all of it, by force what does not end by itself."""
        with contextlib.suppress(Exception):
            self._leaves.close()
        pids = self._nodes.pids() if self._nodes.address else {}
        there = [(pid, _begun(pid)) for first in pids.values() for pid in descended(first)]
        there += [(one.pid, _begun(one.pid)) for one in self.members()]
        with contextlib.suppress(subprocess.SubprocessError):
            subprocess.run([*_BEBR, "down", "--name", _NAME], timeout=90, stderr=subprocess.DEVNULL)
        self._nodes.stop()
        send([pid for pid, begun in there if begun and _begun(pid) == begun], signal.SIGKILL)

    def _bebr(self, *arguments: str) -> None:
        command = [*_BEBR, *arguments, "--name", _NAME, "--wait", str(self._wait)]
        subprocess.run(command, check=True, timeout=2 * self._wait, stdout=subprocess.DEVNULL)


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


def descended(pid: int) -> list[int]:
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


def _begun(pid: int) -> str:
    """When a process was started, by the system's clock, which tells it from another one of that number; empty where
    there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _until_listening(host: str, port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens at {host}:{port} after a minute")


def _free_port(host: str) -> int:
    with socket.socket() as free:
        free.bind((host, 0))
        return int(free.getsockname()[1])
