"""Histograms of calls for Prometheus: of those that Python answers, counted as they end, and of those that the front
does, which counts them itself, as one (docs/operations.md)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

from bebr.serve.calls import QUERIES, SECONDS, Call
from bebr.serve.front import Front
from bebr.serve.registry import CollectionRegistry
from bebr.serve.told import Figures

_SEARCH = "Points/Search"  # what the front answers
_ERRORS = "bebr_call_errors"

_Sample = tuple[str, Mapping[str, str], float]


class _Histogram:
    """`of_python`: of the calls that Python answers."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self.of_python = Histogram(name, text, labels, buckets=bounds, registry=None)
        self._name, self._bounds = name, [floatToGoString(bound) for bound in (*bounds, float("inf"))]

    def of_front(self, labels: Mapping[str, str], figures: Figures) -> Iterator[_Sample]:
        """What is to be added to the samples of Python, which are there from now on."""
        self.of_python.labels(**labels)
        for bound, calls in zip(self._bounds, itertools.accumulate(figures.counts), strict=True):
            yield f"{self._name}_bucket", {**labels, "le": bound}, calls
        yield f"{self._name}_count", labels, sum(figures.counts)
        yield f"{self._name}_sum", labels, figures.sum


class CallMetrics:
    """A collection is a label from its first use until it is dropped; a name that stands for none is the label "", so
    that callers cannot make labels."""

    def __init__(self, collections: CollectionRegistry, front: Front | None) -> None:
        self._collections, self._front = collections, front
        of_call, of_collection = ("method", "collection"), ("collection",)
        self._seconds = _Histogram("bebr_call_seconds", "Time in the server.", of_call, SECONDS)
        self._of_search = (
            _Histogram("bebr_search_queue_seconds", "Time that a search waited.", of_collection, SECONDS),
            _Histogram("bebr_search_seconds", "Time of its kernel call.", of_collection, SECONDS),
            _Histogram("bebr_search_batch_queries", "Queries of that.", of_collection, QUERIES),
        )
        self._errors = Counter(_ERRORS, "Calls that were not answered OK.", (*of_call, "code"), registry=None)
        self._families = self._errors, *(one.of_python for one in (self._seconds, *self._of_search))
        # Looking a label up costs more than counting.
        self._children: dict[tuple[str, str], Any] = {}
        self._searches: dict[str, list[Any]] = {}
        self._lock = threading.Lock()  # while series of the front are made, and while they are removed
        collections.on_forget.append(self._forget)
        if front is not None:
            front.count()

    def count(self, call: Call) -> None:
        """A call has ended. In the event loop of the server."""
        if call.counted:
            return
        name = self._collections.label(call.collection)
        key = call.method, name
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._seconds.of_python.labels(*key)
        child.observe(call.elapsed * 1e-9)
        if call.code != "OK":
            self._errors.labels(*key, call.code).inc()
        if call.search is not None and call.search.batch and name:
            three = self._searches.get(name)
            if three is None:
                three = self._searches[name] = [one.of_python.labels(name) for one in self._of_search]
            three[0].observe(call.queued * 1e-9)
            three[1].observe(call.searched * 1e-9)
            three[2].observe(call.search.batch)

    def _forget(self, name: str) -> None:
        """No series of a dropped collection stay."""
        with self._lock:
            for family in self._families:
                family.remove_by_labels({"collection": name})
        self._searches.pop(name, None)
        self._children = {key: child for key, child in self._children.items() if key[1] != name}

    def describe(self) -> Iterator[Metric]:
        for family in self._families:
            yield from family.describe()

    def collect(self) -> Iterator[Metric]:
        """From any thread."""
        with self._lock:
            more = {(name, frozenset(labels.items())): value for name, labels, value in self._of_front()}
            families = [found for family in self._families for found in family.collect()]
        for found in families:
            if more:
                found.samples = [
                    one._replace(value=one.value + more.get((one.name, frozenset(one.labels.items())), 0))
                    for one in found.samples
                ]
            yield found

    def _of_front(self) -> Iterator[_Sample]:
        for one in [] if self._front is None else self._front.counted():
            of_collection = {"collection": one.collection}
            of_call = {"method": _SEARCH, **of_collection}
            yield from self._seconds.of_front(of_call, one.seconds)
            for code, calls in one.errors.items():
                labels = {**of_call, "code": code}
                self._errors.labels(**labels)
                yield f"{_ERRORS}_total", labels, calls
            if sum(one.batch.counts):
                figures = one.queued, one.searched, one.batch
                for histogram, of in zip(self._of_search, figures, strict=True):
                    yield from histogram.of_front(of_collection, of)
