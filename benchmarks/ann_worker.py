"""One engine in one process: built, swept over its settings, then timed whenever the parent asks.

A process each keeps OpenMP runtimes apart, makes the peak of memory that of one build, and lets a library that ends
its process end no more than itself. The processes live side by side, and only the one asked works.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bebr.exact import recall
from bebr.peers import Peer, Setting, prepared
from benchmarks import machine
from benchmarks.datasets import Dataset, Floats, Ids
from benchmarks.memory import Peak, release

__all__ = ["Built", "Job", "Point", "Refused", "Worker", "write"]

ENOUGH = 0.995
# A sweep also ends where this many settings more have added less than that much recall: the code is at its end.
STALLED, GAIN = 3, 0.0005
WARM_UP = 50


class Refused(RuntimeError):
    """The engine could not be built or searched; the message says why."""


@dataclass(frozen=True)
class Job:
    """What all engines of a run share. folder: where ``write`` put the data. seconds: the least time of one timing."""

    folder: Path
    k: int
    threads: int
    single: bool
    seconds: float


@dataclass
class Point:
    """A setting, its recall over all queries, and a first timing taken right after the build."""

    setting: Setting
    recall: float
    alone: float
    """Seconds a query."""


@dataclass
class Built:
    """What building one engine told. cpus: the most that any of its timings used, from the process' CPU time."""

    build_seconds: float
    peak_bytes: int
    bytes_per_vector: float
    sweeps: list[list[Point]]
    cpus: float


def write(data: Dataset, folder: Path, k: int) -> None:
    """Rows as every engine gets them (of unit length under cosine), for the processes to read."""
    for name in ("base", "train", "queries"):
        np.save(folder / f"{name}.npy", prepared(getattr(data, name), data.metric))
    np.save(folder / "truth.npy", data.truth(k))


class Worker:
    """The parent's end of an engine's process."""

    def __init__(self, engine: Peer, job: Job) -> None:
        # spawn, not fork: an OpenMP runtime does not survive a fork
        context = multiprocessing.get_context("spawn")
        self._name = engine.name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, engine, job), daemon=True)
        self._process.start()
        theirs.close()

    def built(self) -> Built:
        """Wait for the build and the sweeps. Raises Refused."""
        found: Built = self._answer()
        return found

    def time(self, setting: Setting) -> float:
        """Seconds a query at ``setting``. Raises Refused."""
        self._pipe.send(setting)
        found: float = self._answer()
        return found

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise Refused(f"it ended its process with exit code {self._process.exitcode}") from None
        if isinstance(answer, Refused):
            raise answer
        return answer

    def close(self) -> None:
        """End the process; the index goes with it."""
        self._pipe.close()  # the child reads the end of the pipe and returns
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection, engine: Peer, job: Job) -> None:
    try:
        for module in engine.imports:
            importlib.import_module(module)
        with machine.pinned(job.threads):
            queries, truth = np.load(job.folder / "queries.npy"), np.load(job.folder / "truth.npy")
            pipe.send(_built(engine, job, queries, truth))
            while True:
                pipe.send(_timed(engine, queries, pipe.recv(), job)[0])
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        pipe.send(Refused(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))


def _built(engine: Peer, job: Job, queries: Floats, truth: Ids) -> Built:
    base, train = np.load(job.folder / "base.npy"), np.load(job.folder / "train.npy")
    with Peak() as peak:
        start = time.perf_counter()
        engine.fit(train, job.threads)
        engine.add(base, job.threads)
        seconds = time.perf_counter() - start + getattr(engine, "earlier_seconds", 0.0)
    del base, train
    release()  # dozens of these processes live side by side
    sweeps, cpus = [], 0.0
    for settings in engine.sweeps:
        points: list[Point] = []
        for setting in settings:
            accuracy = recall(engine.search(queries, job.k, job.threads, setting), truth)
            alone, used = _timed(engine, queries, setting, job)
            points.append(Point(dict(setting), accuracy, alone))
            cpus = max(cpus, used)
            stalled = len(points) > STALLED and accuracy - points[-1 - STALLED].recall < GAIN
            if accuracy > ENOUGH or stalled:
                break
        sweeps.append(points)
    highest = max(peak.bytes, getattr(engine, "earlier_peak", 0))
    return Built(seconds, highest, engine.bytes_per_vector, sweeps, cpus)


def _timed(engine: Peer, queries: Floats, setting: Setting, job: Job) -> tuple[float, float]:
    """Seconds a query, and how many CPUs that took."""
    batches = [queries[i : i + 1] for i in range(len(queries))] if job.single else [queries]
    engine.search(queries[:WARM_UP], job.k, job.threads, setting)  # another engine emptied the caches
    passes = 0
    start, cpu = time.perf_counter(), time.process_time()
    while passes == 0 or time.perf_counter() - start < job.seconds:
        for batch in batches:
            engine.search(batch, job.k, job.threads, setting)
        passes += 1
    taken = time.perf_counter() - start
    return taken / (passes * len(queries)), (time.process_time() - cpu) / taken
