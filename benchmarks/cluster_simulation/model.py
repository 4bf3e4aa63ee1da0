"""The model: queries that wait for processors, on the way from a client by a root to leaves and back (SimPy)."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from bebr.cluster.latencies import Latencies

__all__ = ["Layout", "Measured", "simulate"]

_LEAST_POWER = 0.5

Steps = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True)
class Measured:
    """Of one real leaf and a root; times in seconds. `rows`, `service`: processor time of a leaf for one query, at
    several sizes; `noise`: how long single queries took, over their median; `wire`: of a call, where no processor of
    ours works; `root`, `root_leaf`: processor time of a root for one query, and for each leaf that it asks;
    `client`: that of a client; `row_bytes`: of a file, a row; `start`: of a leaf, until it takes calls."""

    rows: Sequence[int]
    service: Sequence[float]
    noise: Sequence[float]
    wire: float
    root: float
    root_leaf: float
    client: float
    row_bytes: float
    start: float

    def service_of(self, rows: float) -> float:
        """Of a leaf with so many rows: between the sizes that were measured, and beyond them, by the power law through
        the two nearest. Beyond the largest it grows by the root at least: an index in lists looks into as many rows."""
        if len(self.rows) == 1:
            return float(self.service[0] * max(rows / self.rows[0], 1.0) ** _LEAST_POWER)
        at = min(max(int(np.searchsorted(self.rows, rows)), 1), len(self.rows) - 1)
        (x0, x1), (y0, y1) = self.rows[at - 1 : at + 1], self.service[at - 1 : at + 1]
        power = max(math.log(y1 / y0) / math.log(x1 / x0), _LEAST_POWER if rows > x1 else 0.0)
        return float(y1 * (rows / x1) ** power)


@dataclass(frozen=True)
class Layout:
    """`shards` with `replicas` each, `cores` a leaf. `together`: all of it and clients share these cores, as on one
    machine. `network`: seconds of one way between machines, beside `wire`. `lost`: so many replicas of the first shard
    are away."""

    shards: int
    replicas: int = 1
    cores: int = 1
    together: bool = False
    network: float = 0.0
    lost: int = 0


class _Model:
    def __init__(self, measured: Measured, layout: Layout, rows: float, seed: int) -> None:
        self.env = simpy.Environment()
        self._m, self._layout = measured, layout
        self._rng = np.random.default_rng(seed)
        self._service = measured.service_of(rows / layout.shards)
        self._noise = np.asarray(measured.noise)
        shared = simpy.Resource(self.env, layout.cores)
        self._client = shared if layout.together else None
        self._root = shared if layout.together else simpy.Resource(self.env, 64)
        self._leaves = [
            [shared if layout.together else simpy.Resource(self.env, layout.cores) for _ in range(layout.replicas)]
            for _ in range(layout.shards)
        ]
        self._latencies = Latencies()
        self.seconds: list[float] = []

    def query(self) -> Steps:
        begun = self.env.now
        yield from self._computes(self._client, self._m.client)
        yield self.env.timeout(self._m.wire / 2 + self._layout.network)
        root = self._m.root + self._m.root_leaf * self._layout.shards
        yield from self._computes(self._root, root / 2)
        yield self.env.all_of([self.env.process(self._shard(number)) for number in range(self._layout.shards)])
        yield from self._computes(self._root, root / 2)
        yield self.env.timeout(self._m.wire / 2 + self._layout.network)
        self.seconds.append(self.env.now - begun)

    def _shard(self, number: int) -> Steps:
        """The first answer of its replicas: a second one is asked once the first takes long, as `bebr root` does."""
        replicas = self._leaves[number][self._layout.lost if number == 0 else 0 :]
        turn = int(self._rng.integers(len(replicas)))
        begun = self.env.now
        first = self.env.process(self._leaf(replicas[turn]))
        tries = [first]
        if len(replicas) > 1:
            yield first | self.env.timeout(self._latencies.delay)
            if not first.triggered:
                tries.append(self.env.process(self._leaf(replicas[(turn + 1) % len(replicas)])))
        if not any(one.triggered for one in tries):
            yield self.env.any_of(tries)
        self._latencies.note(self.env.now - begun)

    def _leaf(self, cores: simpy.Resource) -> Steps:
        yield self.env.timeout(self._m.wire / 2 + self._layout.network)
        yield from self._computes(cores, self._service * float(self._rng.choice(self._noise)))
        yield self.env.timeout(self._m.wire / 2 + self._layout.network)

    def _computes(self, cores: simpy.Resource | None, seconds: float) -> Steps:
        if cores is None:
            yield self.env.timeout(seconds)
            return
        with cores.request() as turn:
            yield turn
            yield self.env.timeout(seconds)

    def clients(self, queries: int) -> Steps:
        """One that asks, waits for its answer, and asks again."""
        for _ in range(queries):
            yield from self.query()

    def arriving(self, rate: float, queries: int) -> Steps:
        """Queries of many clients that know nothing of each other."""
        for _ in range(queries):
            yield self.env.timeout(float(self._rng.exponential(1 / rate)))
            self.env.process(self.query())


def simulate(
    measured: Measured,
    layout: Layout,
    rows: float,
    queries: int,
    *,
    clients: int = 0,
    load: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """The seconds of each query, float64[n]; the first tenth is left out. Either so many `clients` that
    ask one after the other, or queries that arrive by chance, so that the cores of leaves work for `load` of the time
    where all replicas are there."""
    model = _Model(measured, layout, rows, seed)
    rate = load * layout.replicas * layout.cores / measured.service_of(rows / layout.shards)
    if clients:
        for _ in range(clients):
            model.env.process(model.clients(queries // clients))
    else:
        model.env.process(model.arriving(rate, queries))
    model.env.run()
    return np.asarray(model.seconds[len(model.seconds) // 10 :])
