"""Vector sets of Redis 8 in a server of its own, over a socket in its folder, spoken to as its protocol (RESP 2) is."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.databases.base import Absent, Below, Setting
from benchmarks.datasets import Floats, Ids
from benchmarks.wires import Wire, resp
from benchmarks.wires.base import unix

_KEY = b"rows"
_PIPELINE = 256


class Talk:
    """A connection of one thread."""

    def __init__(self, path: Path) -> None:
        self._socket = unix(str(path))
        self._file = self._socket.makefile("rb")

    def ask(self, *commands: Sequence[bytes]) -> list[Any]:
        """The answers to a few commands that are sent at once. ``RuntimeError`` where one is an error."""
        self._socket.sendall(b"".join(map(resp.command, commands)))
        return [self._answer() for _ in commands]

    def _answer(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        return rest

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Redis:
    """Vectors in 8 bits, Redis's default."""

    settings: Sequence[Setting] = ({"ef": 64}, {"ef": 256})
    efforts = tuple({"ef": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024))

    def __init__(self, program: str, folder: Path) -> None:
        self._path = folder / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(self._path), "--save", "", "--dir", str(folder)]
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._path.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{program} does not listen")
            time.sleep(0.05)
        self._own = Talk(self._path)

    def wire(self, k: int, setting: Setting) -> Wire:
        return resp.Resp(str(self._path), _KEY, k, setting["ef"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def add(self, ids: Ids, vectors: Floats, fields: Mapping[str, Ids]) -> None:
        """Fields are left out: no filter is asked of it."""
        for begin in range(0, len(ids), _PIPELINE):
            some = slice(begin, begin + _PIPELINE)
            rows = zip(ids[some].tolist(), vectors[some].astype("<f4"), strict=True)
            self._own.ask(*([b"VADD", _KEY, b"FP32", row.tobytes(), b"%d" % id] for id, row in rows))

    def finish(self) -> None: ...

    def search(self, query: Floats, k: int, below: Below | None, setting: Setting) -> Iterable[int]:
        (found,) = self._own.ask(resp.search(_KEY, query, k, setting["ef"]))
        return list(map(int, found))

    def close(self) -> None:
        self._own.close()
        self._process.terminate()
        self._process.wait(30)


def make(folder: Path, dim: int, fields: Sequence[str]) -> tuple[Redis, str]:
    program = shutil.which("redis-server")
    if program is None:
        raise Absent("redis-server is not installed (apt-get install redis-server): left out")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    version = said.partition("v=")[2].split()[0]
    if int(version.partition(".")[0]) < 8:
        raise Absent(f"redis-server {version} has no vector sets, Redis 8 has: left out")
    return Redis(program, folder), version
