"""The model: queries that wait for processes and processors, on the way from a client by a root to leaves and back
(SimPy)."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from bebr.cluster.latencies import Latencies

__all__ = ["Idle", "Layout", "Measured", "simulate"]

_LEAST_POWER = 0.5
_MANY = 1 << 20

Steps = Generator[simpy.Event, Any, Any]
# Seconds of a processor, and what is done after them.
Part = tuple[float, Callable[[], object] | None]


@dataclass(frozen=True)
class Idle:
    """What a process computes while nobody asks it, looks among it: `share` of a processor, in pieces of so many
    seconds."""

    share: float
    piece: float


@dataclass(frozen=True)
class Measured:
    """Of real leaves and a real root; times in seconds.

    Of a leaf: `rows`, `service`: processor time for one query of a root, at several sizes; `alone`: of the first, the
    mean of a query that it is asked directly; `noise`: at each of them, by how much single queries through a root took
    longer than all did in the mean, of `noise_per` seconds of processor time of all; `leaf_idle`.

    Of a root: `leaves`, `root`, `root_idle`: processor time for one query, and what it computes besides, by the number
    of its leaves; `root_wait`: of a query, where it waits for itself; where that is negative, so much of its processor
    time comes after the answer; `root_threads`: how many of its threads compute at once.

    `wake`: until a processor that sleeps begins; `beside`: processor time while all of them compute, over that of one
    alone; `client`: processor time of a client for one query; `row_bytes`: of a file, a row; `start`: of a leaf, until
    it takes calls."""

    rows: Sequence[int]
    service: Sequence[float]
    alone: float
    noise: Sequence[Sequence[float]]
    noise_per: Sequence[float]
    leaf_idle: Idle
    leaves: Sequence[int]
    root: Sequence[float]
    root_idle: Sequence[Idle]
    root_wait: float
    root_threads: int
    wake: float
    beside: float
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

    def nearest(self, rows: float) -> int:
        """The number of the size that was measured and is nearest."""
        return int(np.argmin(np.abs(np.log(np.asarray(self.rows) / rows))))

    def root_of(self, leaves: int) -> float:
        """Of a root over so many leaves; beyond the most that were measured, by the line through the last two."""
        return _on_line(self.leaves, self.root, leaves)

    def root_idle_of(self, leaves: int) -> Idle:
        share = _on_line(self.leaves, [one.share for one in self.root_idle], leaves)
        return Idle(share, _on_line(self.leaves, [one.piece for one in self.root_idle], min(leaves, self.leaves[-1])))

    def each(self, leaves: int) -> float:
        """That part of `root_of` which is for one leaf, of several: a root over one passes calls on."""
        return max(self.root_of(leaves + 1) - self.root_of(leaves), 0.0) if leaves > 1 else 0.0


def _on_line(xs: Sequence[int], ys: Sequence[float], x: int) -> float:
    if x <= xs[-1] or len(xs) == 1:
        return float(np.interp(x, xs, ys))
    return ys[-1] + max(ys[-1] - ys[-2], 0.0) / (xs[-1] - xs[-2]) * (x - xs[-1])


@dataclass(frozen=True)
class Layout:
    """`shards` with `replicas` each, `cores` of each machine, a thread of a leaf for each of them. `together`: all of
    it and clients are on one machine. `roots`: on machines of their own; `network`: seconds
    of one way between machines; `lost`: so many replicas of the first shard are away."""

    shards: int
    replicas: int = 1
    cores: int = 1
    together: bool = False
    roots: int = 1
    network: float = 0.0
    lost: int = 0


class _Cores:
    """Processors of a machine, first come, first served."""

    def __init__(self, env: simpy.Environment, count: int, wake: float, beside: float) -> None:
        self._env, self._cores, self._wake, self._beside = env, simpy.Resource(env, count), wake, beside

    def compute(self, *parts: Part, awake: bool = False) -> Steps:
        """One part after the other. `awake`: it goes on with what it has just done."""
        sleeps = not awake and self._cores.count < self._cores.capacity
        with self._cores.request() as turn:
            yield turn
            yield self._env.timeout(self._wake if sleeps else 0.0)
            others = (self._cores.count - 1) / max(self._cores.capacity - 1, 1)
            for seconds, then in parts:
                yield self._env.timeout(seconds * (1.0 + (self._beside - 1.0) * others))
                if then is not None:
                    then()


class _Noise:
    """What comes to some seconds of processor time by chance: what was measured of `per` seconds, once for each of
    these."""

    def __init__(self, seconds: Sequence[float], per: float, rng: np.random.Generator) -> None:
        self._seconds, self._per, self._rng = np.asarray(seconds), per, rng

    def with_it(self, seconds: float) -> float:
        whole, part = divmod(seconds / self._per, 1.0)
        times = int(whole) + int(self._rng.random() < part)
        return max(seconds + float(self._rng.choice(self._seconds, times).sum()), 0.0) if times else seconds


class _Process:
    """So many threads, on the processors of a machine."""

    def __init__(self, env: simpy.Environment, threads: int, cores: _Cores, noise: _Noise) -> None:
        self._threads, self._cores, self._noise = simpy.Resource(env, threads), cores, noise

    def compute(self, *parts: Part, awake: bool = False) -> Steps:
        awake = awake or self._threads.count == self._threads.capacity  # it goes on with what waits for it
        with self._threads.request() as turn:
            yield turn
            noisy = [(self._noise.with_it(seconds), then) for seconds, then in parts]
            yield from self._cores.compute(*noisy, awake=awake)


class _Model:
    def __init__(self, measured: Measured, layout: Layout, rows: float, seed: int) -> None:
        self.env = env = simpy.Environment()
        m = self._m = measured
        self._layout = layout
        self._rng = np.random.default_rng(seed)
        self._service = m.service_of(rows / layout.shards)
        size = m.nearest(rows / layout.shards)
        noise, of_leaf = (_Noise(m.noise[at], m.noise_per[at], self._rng) for at in (0, size))
        shared = _Cores(env, layout.cores, m.wake, m.beside)

        def machine(cores: int) -> _Cores:
            return shared if layout.together else _Cores(env, cores, m.wake, m.beside)

        self._client = _Process(env, _MANY, shared, noise)
        machines = [machine(max(m.root_threads, 2)) for _ in range(layout.roots)]
        self._roots = [_Process(env, m.root_threads, cores, noise) for cores in machines]
        of_leaves = [[machine(layout.cores) for _ in range(layout.replicas)] for _ in range(layout.shards)]
        self._leaves = [[_Process(env, layout.cores, cores, of_leaf) for cores in each] for each in of_leaves]
        root_idle = m.root_idle_of(layout.shards * layout.replicas)
        self._idle = [(cores, root_idle) for cores in machines]
        self._idle += [(cores, m.leaf_idle) for each in of_leaves for cores in each]
        each = m.each(layout.shards)
        whole = m.root_of(layout.shards)
        self._each, base = each / 2, max(whole - each * layout.shards, 0.0)
        self._after = min(max(-m.root_wait, 0.0), base)
        self._half = (base - self._after) / 2
        self._latencies = Latencies()
        self.seconds: list[float] = []
        self.left = 0

    def _answered(self) -> Steps:
        """From when a client has sent a query until the answer is at its machine."""
        root = self._roots[int(self._rng.integers(len(self._roots)))]
        asked: list[simpy.Process] = []

        def sent(number: int) -> Callable[[], object]:
            return lambda: asked.append(self.env.process(self._shard(root, number)))

        yield self.env.timeout(self._layout.network)
        parts = [(self._each, sent(number)) for number in range(self._layout.shards)]
        yield from root.compute((self._half, None), *parts)
        yield self.env.all_of(asked)
        yield self.env.timeout(max(self._m.root_wait, 0.0))
        yield from root.compute((self._half, None), awake=True)
        if self._after:
            self.env.process(root.compute((self._after, None), awake=True))
        yield self.env.timeout(self._layout.network)

    def _shard(self, root: _Process, number: int) -> Steps:
        """The first answer of its replicas, as the root has read it: a second one is asked once the first takes long,
        as `bebr root` does."""
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
        yield from root.compute((self._each, None))
        self._latencies.note(self.env.now - begun)

    def _leaf(self, leaf: _Process) -> Steps:
        yield self.env.timeout(self._layout.network)
        yield from leaf.compute((self._service, None))
        yield self.env.timeout(self._layout.network)

    def client(self, queries: int) -> Steps:
        """One that asks, waits for its answer, and asks again."""
        half, begun = self._m.client / 2, self.env.now

        def answered() -> None:
            nonlocal begun
            self.seconds.append(self.env.now - begun)
            begun = self.env.now

        yield from self._client.compute((half, None), awake=True)
        for _ in range(queries):
            yield from self._answered()
            yield from self._client.compute((half, answered), (half, None))
        self.left -= 1

    def arriving(self, rate: float, queries: int) -> Steps:
        """Queries of many clients that know nothing of each other, each with a machine that has nothing else to do."""

        def one() -> Steps:
            begun = self.env.now
            yield self.env.timeout(self._m.client / 2)
            yield from self._answered()
            yield self.env.timeout(self._m.wake + self._m.client / 2)
            self.seconds.append(self.env.now - begun)

        asked = []
        for _ in range(queries):
            yield self.env.timeout(float(self._rng.exponential(1 / rate)))
            asked.append(self.env.process(one()))
        yield self.env.all_of(asked)
        self.left -= 1

    def beside(self) -> None:
        """All that processes do besides, looks among it."""
        for cores, idle in self._idle:
            if idle.share:
                self.env.process(self._pieces(cores, idle))

    def _pieces(self, cores: _Cores, idle: Idle) -> Steps:
        while self.left:
            yield self.env.timeout(float(self._rng.exponential(idle.piece / idle.share)))
            self.env.process(cores.compute((idle.piece, None)))


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
    model.left = clients or 1
    for _ in range(clients):
        model.env.process(model.client(queries // clients))
    if not clients:
        rate = load * layout.replicas * layout.cores / measured.service_of(rows / layout.shards)
        model.env.process(model.arriving(rate, queries))
    model.beside()
    model.env.run()
    return np.asarray(model.seconds[len(model.seconds) // 10 :])
