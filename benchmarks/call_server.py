"""A server of `benchmarks.calls` in a process of its own, which also tells what its searches took.

    python -m benchmarks.call_server FOLDER front|python CORES

serves a folder on these cores ("0" or "0,1"), prints "listening on HOST:PORT", and answers each line that it reads with
a line of JSON: of the searches that ended between a line "note" and this one, what each had of the time of its kernel
call, µs. It stops where its input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import bebr
from bebr.serve.calls import Call
from bebr.serve.limits import Limits
from bebr.serve.server import Server
from bebr.store.database import Database


@dataclass(frozen=True)
class Serving:
    host: str
    port: str
    process: subprocess.Popen[str]

    def asked(self, line: str) -> list[float]:
        """What it answers to a line."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return list(json.loads(self.process.stdout.readline()))


@contextmanager
def serving(folder: str, kind: str, cores: Sequence[int]) -> Iterator[Serving]:
    """A server of the folder; ``kind``: "front" or "python". ``RuntimeError`` if it does not begin."""
    command = [sys.executable, "-m", __name__, folder, kind, ",".join(map(str, cores))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server did not start: it said {line!r}")
        host, port = line.removeprefix("listening on ").strip().rsplit(":", 1)
        yield Serving(host, port, process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


async def serve(folder: str, front: bool) -> None:
    shares: list[float] = []
    noting = False

    def note(call: Call) -> None:
        if noting and call.search is not None and call.search.batch:
            shares.append(call.searched / 1e3 / call.search.batch)

    with Database(folder) as db:
        server = Server(db, Limits(), front=front)
        server.calls.listeners.append(note)
        port = await server.start("127.0.0.1", 0, lambda: noting)
        print(f"listening on 127.0.0.1:{port}", flush=True)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            await asyncio.sleep(0.1)  # longer than between two looks at what the front did
            noting = line == b"note\n"
            print(json.dumps(shares), flush=True)
            shares.clear()
        await server.stop(5)


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(core) for core in sys.argv[3].split(",")})
    bebr.set_num_threads(1)
    sys.setswitchinterval(0.001)
    asyncio.run(serve(sys.argv[1], sys.argv[2] == "front"))
