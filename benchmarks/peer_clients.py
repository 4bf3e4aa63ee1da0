"""Clients of a database that runs inside a process: threads of it that ask at once, for its calls may hold them up.
And what a load of any database says, and the CPU time of a server's processes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.databases import Database, Setting
from benchmarks.datasets import Floats

K = 10
STEP = 61  # between queries of one client


@dataclass(frozen=True)
class Load:
    """p50 and p99 in ms. CPU time of a call in µs, of all clients and of the server; that of a database in the clients'
    process is among theirs."""

    per_second: float
    p50: float
    p99: float
    client_us: float
    server_us: float

    @classmethod
    def of(cls, ms: list[float], seconds: float, made: int, client: float, server: float) -> Load:
        """``ms``: of each call that ended in time; ``made``: calls in all; CPU seconds of the clients for all of these,
        and of the server for those in time."""
        client_us = 1e6 * client / made
        if not ms:  # each takes longer
            return cls(0.0, 1e3 * seconds, 1e3 * seconds, client_us, 0.0)
        middle, slow = np.quantile(ms, [0.5, 0.99])
        return cls(len(ms) / seconds, float(middle), float(slow), client_us, 1e6 * server / len(ms))


def loaded(database: Database, queries: Floats, clients: int, seconds: float, setting: Setting) -> Load:
    """A thread for each client, one call outstanding. It is warm once each has had an answer."""
    warm, begins = threading.Barrier(clients + 1), threading.Event()
    end = 0.0

    def client(at: int) -> list[float]:
        times = list[float]()
        try:
            database.search(queries[at % len(queries)], K, None, setting)
            warm.wait()
        except BaseException:
            warm.abort()
            raise
        begins.wait()
        now = time.monotonic()
        while True:
            at += STEP
            database.search(queries[at % len(queries)], K, None, setting)
            before, now = now, time.monotonic()
            if now > end:
                return times
            times.append(1e3 * (now - before))

    with ThreadPoolExecutor(clients) as threads:
        waiting = [threads.submit(client, number) for number in range(clients)]
        # the client that breaks the barrier says why
        with contextlib.suppress(threading.BrokenBarrierError):
            warm.wait()
        cpu = time.process_time()
        end = time.monotonic() + seconds
        begins.set()
        ms = [call for one in waiting for call in one.result()]
        return Load.of(ms, seconds, len(ms) + clients, time.process_time() - cpu, 0.0)


def tree(pid: int) -> list[int]:
    """A process and those that it started."""
    found = [pid]
    with contextlib.suppress(OSError):  # it ended just now
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        found += [one for children in lists for child in children for one in tree(int(child))]
    return found


def cpu_seconds(pid: int) -> float:
    """So far, of a process and those that it started, ended ones included."""
    ticks = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):  # it ended just now
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
