"""A server of `benchmarks.calls` in a process of its own, which also tells what its searches take.

    python -m benchmarks.call_server FOLDER front|python CORES

serves a folder on these cores ("0" or "0,1") and prints "listening on HOST:PORT". It counts the queries of kernel calls
between a line "note" of its input and a line "tell", and answers that with the CPU time of a query in such a call, µs:
it makes calls of the median size by itself, in one thread. It stops where its input ends.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

import bebr
from bebr.collection.options import SearchOptions
from bebr.serve.calls import Call
from bebr.serve.limits import Limits
from bebr.serve.server import Server
from bebr.store.collection import Collection
from bebr.store.database import Database
from bebr.store.search.searching import asked

_QUERIES = 4000  # of which the CPU time is taken
_DIFFERENT = 256  # as call_load.cpp makes


@dataclass(frozen=True)
class Serving:
    host: str
    port: str
    process: subprocess.Popen[str]

    def note(self) -> None:
        """Counts from now on."""
        self._ask("note")

    def searched_us(self) -> float:
        """CPU time of a query in a kernel call like those since `note`."""
        return float(self._ask("tell"))

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


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


def searched_us(collection: Collection, batch: int) -> float:
    """CPU time of a query, in calls of so many, of as many different queries as the load has: a processor learns the
    branches of a few that come again and again, and searches them for less than any that is served."""
    engine = collection.snapshot.engine
    assert engine is not None
    queries = np.random.default_rng(1).standard_normal((_DIFFERENT, collection.binarizer.query_dim), np.float32)
    taken = []
    for call in range(max(2, _QUERIES // batch)):
        some = queries[(call * batch + np.arange(batch)) % _DIFFERENT]
        begin = time.thread_time_ns()
        engine.search(some, asked(SearchOptions(10)))
        taken.append((time.thread_time_ns() - begin) / batch / 1e3)
    return float(np.median(taken))


async def serve(folder: str, front: bool) -> None:
    batches: list[int] = []
    noting = False

    def note(call: Call) -> None:
        if noting and call.search is not None and call.search.batch:
            batches.append(call.search.batch)

    with Database(folder) as db:
        server = Server(db, Limits(), front=front)
        server.calls.listeners.append(note)
        port = await server.start("127.0.0.1", 0)
        print(f"listening on 127.0.0.1:{port}", flush=True)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            await asyncio.sleep(0.1)  # longer than it takes until the front's searches are told of
            noting = line == b"note\n"
            server.record(noting)
            taken = 0.0
            if not noting:
                taken = searched_us(db.collection(db.collections()[0]), round(np.median(batches)))
                batches.clear()
            print(taken, flush=True)
        await server.stop(5)


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(core) for core in sys.argv[3].split(",")})
    bebr.set_num_threads(1)
    sys.setswitchinterval(0.001)
    asyncio.run(serve(sys.argv[1], sys.argv[2] == "front"))
