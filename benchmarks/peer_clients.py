"""Clients of one database that ask at once: calls a second, how long each takes, and the CPU time of both sides.

Clients of a server are spread over as many processes as there are cores, so that no interpreter's lock holds them up;
each has a connection of its own. A database that runs inside a process has its clients there, as threads.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.databases import Database, Door, Setting
from benchmarks.datasets import Floats

Span = tuple[float, float]
"""When clients begin and end, by the monotonic clock, which all processes share."""

_HEAD_START = 0.3  # seconds until clients begin that were told to
_STEP = 61  # between queries of one client


class _Told(NamedTuple):
    """Of the clients of one process: ms of each call that ended in the span; CPU seconds of these, and of the one call
    that each client ended after it."""

    ms: list[float]
    clients: int
    cpu: float


@dataclass(frozen=True)
class Load:
    """p50 and p99 in ms. CPU time of a call in µs, of all clients' processes and of the server's; that of a database
    in the clients' process is among theirs."""

    per_second: float
    p50: float
    p99: float
    client_us: float
    server_us: float


def loaded(
    database: Database,
    door: Door | None,
    pid: int | None,
    queries: Floats,
    clients: int,
    seconds: float,
    setting: Setting,
) -> Load:
    """``door``: None where the database is in this process; ``pid``: of its server."""
    if door is None:
        told = _ask([database] * clients, queries, range(clients), setting, lambda: _span(seconds))
        return _load([told], 0.0, seconds)
    processes = min(clients, len(os.sched_getaffinity(0)))
    context, pipes, started = multiprocessing.get_context("spawn"), list[Connection](), list[Any]()
    try:
        for first in range(processes):
            ours, theirs = context.Pipe()
            numbers = range(first, clients, processes)
            started.append(
                context.Process(target=_process, args=(theirs, door, queries, numbers, setting), daemon=True)
            )
            started[-1].start()
            theirs.close()
            pipes.append(ours)
        for pipe in pipes:
            pipe.recv()
        span = _span(seconds)
        for pipe in pipes:
            pipe.send(span)
        spent = _between(span, lambda: 0.0 if pid is None else _cpu_seconds(pid))
        return _load([pipe.recv() for pipe in pipes], spent, seconds)
    except EOFError:
        raise RuntimeError("a process of clients ended early; what it said is above") from None
    finally:
        for process in started:
            process.join(10)
            process.kill()


def _load(told: Sequence[_Told], server: float, seconds: float) -> Load:
    ms = np.concatenate([one.ms for one in told])
    calls, made = len(ms), sum(len(one.ms) + one.clients for one in told)
    client_us = 1e6 * sum(one.cpu for one in told) / made
    if not calls:  # none ended in time: each takes longer
        return Load(0.0, 1e3 * seconds, 1e3 * seconds, client_us, 0.0)
    middle, slow = np.quantile(ms, [0.5, 0.99])
    return Load(calls / seconds, float(middle), float(slow), client_us, 1e6 * server / calls)


def _span(seconds: float) -> Span:
    begin = time.monotonic() + _HEAD_START
    return begin, begin + seconds


def _between(span: Span, figure: Callable[[], float]) -> float:
    """By how much a figure rises in a span to come."""
    begin, end = span
    time.sleep(max(0.0, begin - time.monotonic()))
    before = figure()
    time.sleep(max(0.0, end - time.monotonic()))
    return figure() - before


def _process(pipe: Connection, door: Door, queries: Floats, numbers: Sequence[int], setting: Setting) -> None:
    def span() -> Span:
        pipe.send("ready")
        told: Span = pipe.recv()
        return told

    connections = [door() for _ in numbers]
    pipe.send(_ask(connections, queries, numbers, setting, span))
    for connection in connections:
        connection.close()


def _ask(
    connections: Sequence[Database],
    queries: Floats,
    numbers: Sequence[int],
    setting: Setting,
    span: Callable[[], Span],
) -> _Told:
    """A thread for each connection, one call outstanding. ``span`` is asked for once each has had an answer."""
    warm, told, at_once = threading.Barrier(len(connections) + 1), list[Span](), threading.Event()

    def client(connection: Database, at: int) -> list[float]:
        times = list[float]()
        try:
            connection.search(queries[at % len(queries)], 10, None, setting)
            warm.wait()
        except BaseException:
            warm.abort()
            raise
        at_once.wait()
        begin, end = told[0]
        time.sleep(max(0.0, begin - time.monotonic()))
        now = time.monotonic()
        while True:
            at += _STEP
            connection.search(queries[at % len(queries)], 10, None, setting)
            before, now = now, time.monotonic()
            if now > end:
                return times
            times.append(1e3 * (now - before))

    with ThreadPoolExecutor(len(connections)) as threads:
        waiting = [threads.submit(client, *one) for one in zip(connections, numbers, strict=True)]
        try:
            warm.wait()
            told.append(span())
        except threading.BrokenBarrierError:
            pass  # the client that broke it says why
        before = time.process_time()  # clients rest; among them this thread might not get its turn at once
        at_once.set()
        times = [ms for one in waiting for ms in one.result()]
        return _Told(times, len(connections), time.process_time() - before)


def tree(pid: int) -> list[int]:
    """A process and those that it started."""
    found = [pid]
    with contextlib.suppress(OSError):  # it ended just now
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        found += [one for children in lists for child in children for one in tree(int(child))]
    return found


def _cpu_seconds(pid: int) -> float:
    """So far, of a process and those that it started, ended ones included."""
    ticks = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):  # it ended just now
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
