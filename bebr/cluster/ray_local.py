"""Nodes of Ray on this machine, for a cluster to try: each of them is processes, not a machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Each node has an address of the loopback of its own, from this one on, as machines have. The first would not do: Ray
# takes that of the network for it.
_FIRST = 2
# Ray gives what it starts the priority of work that may wait, which leaves would inherit. A node is lost once it was
# asked five times and was not there, with so many milliseconds between; Ray's own are 3,000. Here a process that is not
# there is dead: no network is between. And a node starts so many workers at once; Ray's own are its processors, here 1.
ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "RAY_health_check_period_ms": "400",
    "RAY_worker_maximum_startup_concurrency": "4",
}
# Where Ray's head keeps what it knows, host:port, as Ray has it: with that, a head that died is started again.
_REDIS = "RAY_REDIS_ADDRESS"
_MOST = 64
_STORE_BYTES = 80 << 20  # of Ray's object store, which holds nothing here; less it does not take
# Seconds for the head to take calls, and for nodes to end in peace.
_START, _PATIENCE = 180.0, 30.0


class LocalNodes:
    """Of the cluster of this name. Which there are is in a file of the user's cache folder, so that another process
    may add some, or end them."""

    def __init__(self, name: str) -> None:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._file = base / "bebr" / "clusters" / f"{name}.json"

    @property
    def address(self) -> str | None:
        """Of Ray's head; None where nothing was started here."""
        return str(self._load()["address"]) if self._file.exists() else None

    def pids(self) -> dict[int, int]:
        """The first process of each node."""
        return {int(number): int(pid) for number, pid in self._load()["pids"].items()}

    def start(self, nodes: int) -> None:
        """Has so many nodes in all, each with its part of half of the memory; how much that is stays as it was at
        first. ``ChildProcessError`` where the first one does not come up."""
        if nodes > _MOST:
            raise ValueError(f"got {nodes} nodes on this machine, wanted up to {_MOST}")
        if not self._file.exists():
            self._start_head(nodes)
        about = self._load()
        pids = about["pids"] = {number: pid for number, pid in about["pids"].items() if _is_ray(pid)}
        if "0" not in pids:
            if not about.get("redis"):
                raise ChildProcessError(
                    "the first node has died, and Ray with it: `bebr cluster down`, then begin anew"
                )
            # What the dead one left there says that it runs still.
            shutil.rmtree(Path(about["folder"]) / "0", ignore_errors=True)
            pids["0"] = self._started(about["head"], 0, about)
            self._keep(about)
            self._until_listening(about)
        for number in range(1, _MOST):
            if len(pids) < nodes and str(number) not in pids:
                pids[str(number)] = self._started([f"--address={about['address']}"], number, about)
                self._keep(about)
        while len(pids) > max(nodes, 1):
            _end([pids.pop(max(pids, key=int))])
            self._keep(about)

    def stop(self) -> None:
        """Ends all that there are."""
        if not self._file.exists():
            return
        about = self._load()
        _end([pid for number, pid in about["pids"].items() if number != "0"])
        _end([about["pids"]["0"]])
        shutil.rmtree(about["folder"], ignore_errors=True)
        self._file.unlink()

    def _start_head(self, nodes: int) -> None:
        if sys.platform != "linux":
            raise ValueError("nodes on one machine want Linux, where each has an address: begin Ray, and say --address")
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 // nodes
        port, client = _free_port(), _free_port()
        folder = tempfile.mkdtemp(prefix="bebr-ray-", dir="/tmp")  # a short name: sockets are in it
        head = ["--head", f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false"]
        about = {"address": f"{_host(0)}:{port}", "folder": folder, "memory": memory, "head": head, "pids": {}}
        about["redis"] = os.environ.get(_REDIS, "")
        about["pids"] = {"0": self._started(head, 0, about)}
        self._keep(about)
        self._until_listening(about)

    def _started(self, arguments: list[str], number: int, about: dict[str, Any]) -> int:
        common = ["--block", f"--node-ip-address={_host(number)}", "--num-cpus=1", f"--memory={about['memory']}"]
        # In one folder, nodes that start at the same time may take the same names for their sockets.
        common += [f"--temp-dir={about['folder']}/{number}"]
        common += [f"--object-store-memory={_STORE_BYTES}", "--disable-usage-stats", "--include-log-monitor=false"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *common, *arguments]
        environment = {name: value for name, value in os.environ.items() if name != _REDIS} | ENVIRONMENT
        if number == 0 and about["redis"]:
            environment[_REDIS] = about["redis"]
        with (Path(about["folder"]) / "start.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env=environment,
            )
        return process.pid

    def _until_listening(self, about: dict[str, Any]) -> None:
        """``ChildProcessError``, which names the log, where Ray's head does not."""
        host, _, port = about["address"].rpartition(":")
        end = time.monotonic() + _START
        while time.monotonic() < end and _is_ray(about["pids"]["0"]):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1.0):
                return
            time.sleep(0.1)
        raise ChildProcessError(f"Ray did not start: see {about['folder']}/start.log")

    def _load(self) -> dict[str, Any]:
        about: dict[str, Any] = json.loads(self._file.read_text())
        return about

    def _keep(self, about: dict[str, Any]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(about))


def _host(number: int) -> str:
    return f"127.0.0.{_FIRST + number}"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_host(0), 0))
        return int(free.getsockname()[1])


def _end(pids: list[int]) -> None:
    """And waits until they are gone."""
    left = [pid for pid in pids if _is_ray(pid)]
    for pid in left:
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _PATIENCE
    while left and time.monotonic() < end:
        time.sleep(0.1)
        left = [pid for pid in left if _is_ray(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def _is_ray(pid: int) -> bool:
    """Whether it runs; a number that another program has by now is not one of ours."""
    command = ["ps", "-o", "command=", "-p", str(pid)]
    return "ray.scripts.scripts" in subprocess.run(command, capture_output=True, text=True).stdout
