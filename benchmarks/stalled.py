"""Who waits for clients that do not read, or do not go on writing? Nobody else should.

    python -m benchmarks.stalled [--rows 50000] [--seconds 5] [--rounds 3] [--json stalled.json]

p50 and p99 of a quiet reader, alone; beside --count calls on a connection that never opens its windows, so that their
replies of --pages rows lie in the server; and beside as many streams of upserts that send one message and stop. In
turns; the verdict is by medians of the rounds: p99 at most 1.2 of that alone. Exit 1 where it is not.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import numpy as np
from rich.table import Table

import bebr
from bebr.v1 import bebr_pb2 as pb
from benchmarks import machine, output, servers
from benchmarks.datasets import Floats
from benchmarks.filters import blocks, mixture
from benchmarks.wires.http2 import HEADERS, INITIAL_WINDOW, PREFACE, SETTINGS, call, frame, on_stream

_NAME = "docs"
_MOST = 1.2
_NO_WINDOW = struct.pack(">HI", INITIAL_WINDOW, 0)


@contextlib.contextmanager
def not_reading(target: str, count: int, pages: int) -> Iterator[None]:
    """Calls whose replies are never taken: each asks for a page of rows with vectors. ``RuntimeError`` where the server
    does not begin to answer: then nothing lies in it."""
    host, port = target.rsplit(":", 1)
    request = pb.ScrollRequest(collection=_NAME, limit=pages, with_vectors=True).SerializeToString()
    asked = call("/bebr.v1.Points/Scroll", request)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, _NO_WINDOW))
        for number in range(count):
            connection.sendall(on_stream(asked, 2 * number + 1))
        begun = _begun(connection, count)
        if begun < count:
            raise RuntimeError(f"the server began to answer {begun} of {count} calls that are not read")
        yield


def _begun(connection: socket.socket, count: int) -> int:
    """How many calls have the headers of their replies, which no window holds back."""
    connection.settimeout(20)
    begun, data = 0, b""
    with contextlib.suppress(TimeoutError):
        while begun < count and (some := connection.recv(1 << 16)):
            data += some
            while len(data) >= 9 + (length := int.from_bytes(data[:3], "big")) and len(data) >= 9:
                begun += data[3] == HEADERS
                data = data[9 + length :]
    return begun


@contextlib.contextmanager
def not_writing(target: str, count: int, x: Floats) -> Iterator[None]:
    """Streams of upserts that have sent one message, and send no more for now."""
    over = threading.Event()

    def messages() -> Iterator[pb.UpsertRequest]:
        ids = np.arange(10).astype("<i8").tobytes()
        columns = pb.Vectors(f32=x[:10].astype("<f4").tobytes(), dimension=x.shape[1], count=10)
        yield pb.UpsertRequest(collection=_NAME, ids=ids, vectors=columns)
        over.wait()

    with grpc.insecure_channel(target) as channel:
        call = channel.stream_unary(
            "/bebr.v1.Points/UpsertStream", pb.UpsertRequest.SerializeToString, pb.UpsertResponse.FromString
        )
        calls = [call.future(messages()) for _ in range(count)]
        time.sleep(1)
        try:
            yield
        finally:
            over.set()
            for one in calls:
                one.result(30)


def latencies(target: str, queries: Floats, seconds: float) -> tuple[float, float]:
    """p50 and p99 in ms of one reader."""
    times: list[float] = []
    with bebr.connect(target) as client:
        docs = client.collection(_NAME)
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            docs.search(queries[len(times) % len(queries)], 10, with_payloads=len(times) % 2 == 0)
            times.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(times)), float(np.quantile(times, 0.99))


def run(options: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    source = mixture(options.dim, options.seed)
    x = np.concatenate([block for _, block in blocks(source, options.rows)])
    with tempfile.TemporaryDirectory() as path:
        with bebr.open(path) as db:
            bz = bebr.train(x[:20_000], bytes_per_vector=options.dim // 8 + 4, metric="cosine", seed=0)
            docs = db.create_collection(_NAME, bz)
            docs.upsert(np.arange(len(x)), x, [{"n": i} for i in range(len(x))])
            docs.settle()
        with servers.started("-c", f"from bebr.serve import serve; serve({path!r}, port=0)") as (target, _):
            ways: dict[str, Callable[[], AbstractContextManager[None]]] = {
                "alone": contextlib.nullcontext,
                "beside slow readers": lambda: not_reading(target, options.count, options.pages),
                "beside stalled writers": lambda: not_writing(target, options.count, x),
            }
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, way in ways.items():
                    with way():
                        found[name].append(latencies(target, source.queries(512), options.seconds))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--count", type=int, default=32, help="calls that stall")
    parser.add_argument("--pages", type=int, default=2000, help="rows of a reply that is not read")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    medians = {name: np.median(rounds, axis=0) for name, rounds in run(options).items()}
    alone = medians["alone"][1]
    rows = [{"way": name, "p50": p50, "p99": p99, "ratio": p99 / alone} for name, (p50, p99) in medians.items()]
    if options.json is not None:
        output.save(options.json, machine.facts(bebr.get_num_threads()), rows)
    table = Table("a reader", "p50, ms", "p99, ms", "p99 to that alone")
    for row in rows:
        mark = "" if row["ratio"] <= _MOST else " ✗"
        table.add_row(row["way"], f"{row['p50']:.2f}", f"{row['p99']:.2f}", f"{row['ratio']:.2f}{mark}")
    output.console().print(table)
    return int(any(row["ratio"] > _MOST for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
