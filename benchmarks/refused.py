"""The request that once killed the server: 160 kB that ask for 20 GB. How fast it is refused, and who waits meanwhile.

    python -m benchmarks.refused [--requests 50] > refused.json

A collection holds one payload of 1 MB, and the request asks for it 20,000 times. One client sends it again and again,
another searches a second collection. Aims: refused with RESOURCE_EXHAUSTED within 50 ms, every time; no search takes
longer than that; the server's memory does not grow by more than 64 MiB. Exit 1 on a missed aim.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np

import bebr
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc
from benchmarks import machine, memory
from benchmarks.concurrency import serving

AIM_MS, AIM_MIB = 50.0, 64.0


@dataclass(frozen=True)
class Refused:
    """Slowest refusal; worst search alone and beside the requests; how much the server's peak of memory rose."""

    requests: int
    slowest_ms: float
    searches: int
    alone_worst_ms: float
    beside_worst_ms: float
    memory_mib: float

    @property
    def good(self) -> bool:
        return max(self.slowest_ms, self.beside_worst_ms) < AIM_MS and self.memory_mib < AIM_MIB


def refusal(points: rpc.PointsStub, request: pb.GetPayloadsRequest) -> float:
    """Seconds until the server refuses; AssertionError unless it does so in the right words."""
    start = time.perf_counter()
    try:
        points.GetPayloads(request)
    except grpc.RpcError as error:
        seconds = time.perf_counter() - start
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
        assert "the reply would have 20000" in str(error.details()), error
        return seconds
    raise AssertionError("20 GB were not refused")


def worst_search(search: Callable[[], object], going_on: Callable[[], bool]) -> tuple[int, float]:
    """How many searches were made meanwhile, and the seconds of the slowest."""
    count, worst = 0, 0.0
    while going_on():
        start = time.perf_counter()
        search()
        count, worst = count + 1, max(worst, time.perf_counter() - start)
    return count, worst


def measure(requests: int) -> Refused:
    x = np.random.default_rng(0).standard_normal((2000, 64), np.float32)
    bz = bebr.train(x, widths=[48, 16], metric="cosine", seed=0)
    heavy = pb.GetPayloadsRequest(collection="heavy", ids=np.full(20_000, 3).tobytes())
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as (target, pid),
        bebr.connect(target) as client,
        grpc.insecure_channel(target) as channel,
    ):
        client.create_collection("heavy", bz).upsert([3], x[:1], [{"text": "x" * 1_000_000}])
        other = client.create_collection("other", bz)
        other.upsert(range(len(x)), x)
        points = rpc.PointsStub(channel)
        refusal(points, heavy)  # what the first call of a process takes is not of the request
        before, end = memory.status("VmHWM", pid), time.perf_counter() + 2
        other.search(x[0], 10)
        _, alone = worst_search(lambda: other.search(x[0], 10), lambda: time.perf_counter() < end)
        times: list[float] = []

        def send() -> None:
            for _ in range(requests):
                times.append(refusal(points, heavy))
                time.sleep(0.02)

        sender = threading.Thread(target=send)
        sender.start()
        count, beside = worst_search(lambda: other.search(x[0], 10), sender.is_alive)
        assert len(times) == requests, "a request was not refused"
        risen = memory.status("VmHWM", pid) - before
        return Refused(requests, 1e3 * max(times), count, 1e3 * alone, 1e3 * beside, risen / 2**20)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50)
    found = measure(parser.parse_args(arguments).requests)
    print(json.dumps({**machine.facts(bebr.get_num_threads()), **asdict(found)}, indent=2))
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
