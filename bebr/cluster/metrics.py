"""Figures of a root for Prometheus: its calls, and what each leaf took for its part of them (docs/cluster.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from bebr.cluster.leaves import Leaves
from bebr.serve.calls import SECONDS, Call


class RootMetrics:
    """All of `registry`. `count` is told of calls that have ended, `asked` of those to leaves, both in the event loop
    of the root. No label is one that callers can make. `tell`: has both told of all calls so far."""

    def __init__(self, leaves: Leaves, tell: Callable[[], None]) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_Told(tell))
        self._seconds = Histogram(
            "bebr_root_call_seconds", "Time in the root.", ("method",), buckets=SECONDS, registry=registry
        )
        self._errors = Counter(
            "bebr_root_call_errors", "Calls that were not answered OK.", ("method", "code"), registry=registry
        )
        self._leaf = Histogram(
            *("bebr_root_leaf_seconds", "Time of a call to a leaf.", ("leaf", "method")),
            buckets=SECONDS,
            registry=registry,
        )
        self._failed = Counter(
            "bebr_root_leaf_failures", "Calls that a leaf did not answer.", ("leaf",), registry=registry
        )
        registry.register(_OfLeaves(leaves))
        ProcessCollector(registry=registry)

    def count(self, call: Call) -> None:
        self._seconds.labels(call.method).observe(call.elapsed * 1e-9)
        if call.code != "OK":
            self._errors.labels(call.method, call.code).inc()

    def asked(self, leaf: str, method: str, seconds: float, answered: bool) -> None:
        if answered:
            self._leaf.labels(leaf, method).observe(seconds)
        else:
            self._failed.labels(leaf).inc()

    def forget(self, leaf: str) -> None:
        """No series of a leaf that is gone stay."""
        for family in (self._leaf, self._failed):
            family.remove_by_labels({"leaf": leaf})


class _Told:
    """Has no figures, and comes before all others."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def describe(self) -> tuple[()]:
        return ()

    def collect(self) -> tuple[()]:
        self._tell()
        return ()


class _OfLeaves:
    """What is read when it is asked for."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves

    def describe(self) -> tuple[()]:
        return ()

    def collect(self) -> Iterator[Any]:
        leaves = self._leaves
        tries = "Reads for which a second replica was asked beside the first."
        yield CounterMetricFamily("bebr_root_second_tries", tries, leaves.tried_twice)
        partial = "Searches that were answered without some shards."
        yield CounterMetricFamily("bebr_root_partial_answers", partial, leaves.partial)
        up = GaugeMetricFamily("bebr_root_leaf_up", "Whether a leaf answered last time.", labels=("leaf",))
        for leaf in list(leaves.all):
            up.add_metric([leaf.name], leaf.alive)
        yield up
