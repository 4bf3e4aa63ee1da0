"""What a call costs whoever answers it: the floors that `benchmarks.calls` puts beside its figures."""

from __future__ import annotations

import contextlib
import importlib
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from bebr.arrays import Floats
from bebr.serve.convert import vectors_to_message
from bebr.v1 import bebr_pb2 as pb
from benchmarks.kernels import built

# Bytes of a search of one query of 384 floats and of its answer, HTTP/2's own included.
_IN, _OUT = 1600, 200
_PATH = "/bebr.v1.Points/Search"


def echoed_us(seconds: float) -> float:
    """CPU time of a call, µs, of a server that waits for bytes, reads and sends, by the three calls of the system that
    any has to make; one call outstanding."""
    command = [str(built("bebr_call_counted")), "echo", str(_IN), str(_OUT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        with socket.create_connection(("127.0.0.1", int(server.stdout.readline()))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request, calls = bytes(_IN), 0
            begin, end = _nanoseconds(server.pid), time.monotonic() + seconds
            while time.monotonic() < end:
                connection.sendall(request)
                left = _OUT
                while left:
                    left -= len(connection.recv(left))
                calls += 1
            taken = _nanoseconds(server.pid) - begin
    return taken / calls / 1e3


def _nanoseconds(pid: int) -> int:
    """CPU time of a program of one thread so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def bare_search(target: str, name: str, queries: Floats) -> tuple[grpc.Channel, Callable[[int], bytes]]:
    """The search of a query by its number through gRPC's Python client alone: bytes that were made before go out, and
    bytes come back. Close the channel after it."""
    channel = grpc.insecure_channel(target)
    ask = channel.unary_unary(_PATH)
    requests = _requests(name, queries)
    return channel, lambda i: ask(requests[i], timeout=60)


def direct_search(target: str, name: str, queries: Floats) -> tuple[Any, Callable[[int], bytes]]:
    """The same by the connection that `bebr.connect` searches over, alone. Close the first after it."""
    host, port = target.rsplit(":", 1)
    caller = importlib.import_module("bebr._front").Caller(host=host, port=port, authority=target, headers=[], most=1)
    requests = _requests(name, queries)

    def ask(i: int) -> bytes:
        failed, _, _, reply = caller.search(_PATH, requests[i], None, 60, 10, False, True)
        if failed is not None:
            raise RuntimeError(f"a search ended {failed}")
        return bytes(reply)

    return contextlib.closing(caller), ask


def _requests(name: str, queries: Floats) -> list[bytes]:
    return [
        pb.SearchRequest(collection=name, k=10, queries=vectors_to_message(one[None])).SerializeToString()
        for one in queries
    ]
