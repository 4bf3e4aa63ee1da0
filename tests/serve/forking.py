"""Servers in processes of their own, without a second of imports each: one process imports them all, and forks."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import IO

# A fork has the variables of the moment when it is made. What is read on import alone is that of this moment.
_ENVIRONMENT = dict(os.environ)


class Process:
    """What a test uses of `subprocess.Popen`, of a process that another one forked."""

    def __init__(self, code: str, errors: IO[bytes]) -> None:
        reading, writing = os.pipe()
        with _forks().lock:
            self.pid = _forks().asked({"code": code, "environment": dict(os.environ)}, [writing, errors.fileno()])
        os.close(writing)
        self.stdout = os.fdopen(reading)
        self.returncode: int | None = None
        self._end = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a server", timeout or 0)
            with _forks().lock:
                self.returncode = os.waitstatus_to_exitcode(_forks().asked({"ended": self.pid}))
            os.close(self._end)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it wrote to stdout and nobody has read, once it ended."""
        self.wait(timeout)
        with self.stdout:
            return self.stdout.read(), None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._end, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Forks:
    """The process that forks, and the socket by which it is asked to. Hold ``lock`` from a question to its answer."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", __spec__.name, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=_ENVIRONMENT)
        atexit.register(self._close)

    def asked(self, question: dict[str, object], descriptors: list[int] | None = None) -> int:
        socket.send_fds(self._socket, [json.dumps(question).encode()], descriptors or [])
        return int(self._socket.recv(64))

    def _close(self) -> None:
        self._socket.close()
        self._process.wait(30)


@functools.cache
def _forks() -> _Forks:
    return _Forks()


def _fork_when_asked(asking: socket.socket) -> str:
    """Answers until the tests end, and ends this process then. Returns in each fork: what that is to run."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(asking, 1 << 20, 2)
        if not message:
            sys.exit()
        question = json.loads(message)
        if "ended" in question:
            answer = os.waitpid(question["ended"], 0)[1]
        elif answer := os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
        else:
            asking.close()
            for descriptor, standard in zip(descriptors, (1, 2), strict=True):
                os.dup2(descriptor, standard)
                os.close(descriptor)
            os.environ.clear()
            os.environ.update(question["environment"])
            return str(question["code"])
        asking.send(str(answer).encode())


if __name__ == "__main__":
    importlib.import_module("bebr.serve").serve  # noqa: B018  loads the server
    with contextlib.suppress(ImportError):  # HTTP is an extra
        importlib.import_module("bebr.http")
    gc.freeze()
    exec(_fork_when_asked(socket.socket(fileno=int(sys.argv[1]))), {"__name__": "__main__"})
