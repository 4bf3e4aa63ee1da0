"""The light client of `benchmarks.serve_peers`, the same for every server: one loop over connections.

What is sent was made before the clock starts; a reply is read until it is whole and kept as it came. Replies of the
measurement are compared with those of the database's own client once it is over.
"""

from __future__ import annotations

import gc
import select
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from benchmarks.databases import Database, Setting, Wired
from benchmarks.datasets import Floats
from benchmarks.peer_clients import STEP, K, Load, cpu_seconds
from benchmarks.wires import Line
from benchmarks.wires.base import received

_PATIENCE = 60.0  # seconds that a reply may take
_COMPARED = 50


@dataclass
class Told:
    """``ms``: of each call that ended in the span; ``made``: calls in all, whose CPU seconds are ``cpu``; ``replies``:
    the last to each query."""

    ms: list[float] = field(default_factory=list)
    made: int = 0
    cpu: float = 0.0
    server: float = 0.0
    replies: dict[int, bytes] = field(default_factory=dict)


def ask(lines: Sequence[Line], requests: Sequence[bytes], seconds: float, server: Callable[[], float]) -> Told:
    """One call outstanding on each connection, for so long. ``server``: CPU seconds so far. ``RuntimeError`` where a
    reply is an error, or none comes."""
    told, clock = Told(), time.perf_counter
    asked, begun = [number % len(requests) for number in range(len(lines))], [0.0] * len(lines)
    ms, replies = told.ms, told.replies

    def send(number: int) -> None:
        line = lines[number]
        sent = line.ask(requests[asked[number]])
        begun[number] = clock()
        if line.socket.send(sent) != len(sent):
            raise RuntimeError(f"the server does not take a request of {len(sent)} bytes at once")

    with select.epoll() as waiting:
        number_of = {line.socket.fileno(): number for number, line in enumerate(lines)}
        for line in lines:
            line.socket.setblocking(False)
            waiting.register(line.socket, select.EPOLLIN)
        before, cpu = server(), time.thread_time()
        begin = clock()
        end, outstanding = begin + seconds, len(lines)
        for number in range(len(lines)):
            send(number)
        spent = None
        while outstanding:
            ready = waiting.poll(_PATIENCE)
            if not ready:
                raise RuntimeError(f"{outstanding} calls have no reply after {_PATIENCE:.0f} s")
            for descriptor, _ in ready:
                number = number_of[descriptor]
                line = lines[number]
                reply = line.take(received(line.socket))
                if reply is None:
                    continue
                now = clock()
                replies[asked[number]] = reply
                told.made += 1
                if now < end:
                    ms.append(1e3 * (now - begun[number]))
                    asked[number] = (asked[number] + STEP) % len(requests)
                    send(number)
                    continue
                if spent is None:
                    spent = server() - before
                outstanding -= 1
        told.cpu, told.server = time.thread_time() - cpu, spent or 0.0
    return told


def loaded(database: Wired, queries: Floats, clients: int, seconds: float, setting: Setting) -> Load:
    """Each client has a connection of its own and one call outstanding. ``RuntimeError`` where a call fails, or finds
    what the database's own client does not."""
    wire = database.wire(K, setting)
    requests = [wire.request(query) for query in queries]
    with ExitStack() as stack:
        lines = list[Line]()
        for _ in range(clients):
            lines.append(wire.connect())
            stack.enter_context(lines[-1].socket)
        server = partial(cpu_seconds, database.pid)
        ask(lines, requests, 0.0, server)  # once on each connection, which is warm then
        gc.disable()  # nothing here goes in circles
        try:
            told = ask(lines, requests, seconds, server)
        finally:
            gc.enable()
    compare(database, queries, {number: wire.ids(reply) for number, reply in told.replies.items()}, setting)
    return Load.of(told.ms, seconds, told.made, told.cpu, told.server)


def compare(database: Database, queries: Floats, found: dict[int, list[int]], setting: Setting) -> None:
    """``RuntimeError`` where the ids of a few queries are not those that the database's own client gets."""
    for number in list(found)[:_COMPARED]:
        own = list(database.search(queries[number], K, None, setting))
        if own != found[number]:
            raise RuntimeError(f"query {number}: the light client got {found[number]}, the server's own {own}")
