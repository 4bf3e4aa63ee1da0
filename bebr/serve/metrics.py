"""Figures for Prometheus: of calls as they end, of collections and queues when somebody asks (docs/operations.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from bebr.about import info
from bebr.serve.admission import Budget
from bebr.serve.calls import Call
from bebr.serve.front import Front
from bebr.serve.registry import CollectionRegistry

# Seconds: twice and 2.5 times in turns, from less than a small search takes to a long write.
_SECONDS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
HOST = "127.0.0.1"


class Metrics:
    """The metrics of one server. A collection is a label from its first use until it is dropped; a name that stands
    for none is the label "", so that callers cannot make labels."""

    def __init__(self, collections: CollectionRegistry, budget: Budget, front: Front | None) -> None:
        self._collections = collections
        self._all = CollectorRegistry()
        of_call, of_collection = ("method", "collection"), ("collection",)
        self._seconds = Histogram(
            "bebr_call_seconds", "Time in the server.", of_call, buckets=_SECONDS, registry=self._all
        )
        self._errors = Counter(
            "bebr_call_errors", "Calls that were not answered OK.", (*of_call, "code"), registry=self._all
        )
        self._queued = Histogram(
            "bebr_search_queue_seconds",
            "Time that a search waited.",
            of_collection,
            buckets=_SECONDS,
            registry=self._all,
        )
        self._kernel = Histogram(
            "bebr_search_seconds", "Time of its kernel call.", of_collection, buckets=_SECONDS, registry=self._all
        )
        self._batch = Histogram(
            "bebr_search_batch_queries", "Queries of that.", of_collection, buckets=_QUERIES, registry=self._all
        )
        self._all.register(_Figures(collections, budget, front))
        ProcessCollector(registry=self._all)
        # Looking a label up costs more than counting.
        self._children: dict[tuple[str, str], Any] = {}
        self._searches: dict[str, tuple[Any, Any, Any]] = {}
        collections.on_forget.append(self._forget)

    def count(self, call: Call) -> None:
        """A call has ended."""
        name = self._collections.label(call.collection)
        key = call.method, name
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._seconds.labels(*key)
        child.observe(call.elapsed * 1e-9)
        if call.code != "OK":
            self._errors.labels(*key, call.code).inc()
        if call.search is not None and call.search.batch and name:
            three = self._searches.get(name)
            if three is None:
                three = self._queued.labels(name), self._kernel.labels(name), self._batch.labels(name)
                self._searches[name] = three
            three[0].observe(call.queued * 1e-9)
            three[1].observe(call.searched * 1e-9)
            three[2].observe(call.search.batch)

    def _forget(self, name: str) -> None:
        """No series of a dropped collection stay."""
        for family in (self._seconds, self._errors, self._queued, self._kernel, self._batch):
            family.remove_by_labels({"collection": name})
        self._searches.pop(name, None)
        self._children = {key: child for key, child in self._children.items() if key[1] != name}

    def text(self) -> bytes:
        """What ``/metrics`` says. From any thread."""
        return bytes(generate_latest(self._all))

    def serve(self, port: int) -> tuple[int, Any]:
        """Answers ``/metrics`` on loopback, in threads of its own; the port, and what `shutdown` ends. ``OSError`` if
        the port is in use."""
        try:
            server, _ = start_http_server(port, addr=HOST, registry=self._all)
        except OSError as error:
            raise OSError(f"cannot serve metrics on {HOST}:{port}: {error.strerror}") from error
        return server.server_port, server


class _Figures:
    """What is read when it is asked for, in a thread of the metrics' own."""

    def __init__(self, collections: CollectionRegistry, budget: Budget, front: Front | None) -> None:
        self._collections = collections
        self._budget = budget
        self._front = front

    def describe(self) -> Iterable[Any]:
        return ()  # registering it must not read all collections

    def collect(self) -> Iterator[Any]:
        yield from self._of_server()
        yield from self._of_collections()

    def _of_server(self) -> Iterator[Any]:
        about = info()
        built = GaugeMetricFamily("bebr_info", "Which software.", labels=("version", "isa"))
        built.add_metric([about["version"], about["isa"]], 1)
        yield built
        yield GaugeMetricFamily("bebr_memory_held_bytes", "Held by calls in progress.", self._budget.held)
        yield GaugeMetricFamily("bebr_memory_budget_bytes", "What they may hold.", self._budget.total)
        taken = GaugeMetricFamily("bebr_budget_used", "Of a budget of the data.", labels=("budget",))
        most = GaugeMetricFamily("bebr_budget_limit", "What it allows.", labels=("budget",))
        for name, used in self._collections.budgets.used().items():
            taken.add_metric([name], used)
            most.add_metric([name], getattr(self._collections.budgets.most, name))
        yield taken
        yield most
        if self._front is not None:
            calls = CounterMetricFamily("bebr_front_calls", "Calls that came to the front.", labels=("outcome",))
            for outcome, count in self._front.counts().items():
                calls.add_metric([outcome], count)
            yield calls
        queues = GaugeMetricFamily("bebr_queue_depth", "Work that waits for a thread.", labels=("queue",))
        for kind, depth in self._collections.waiting().items():
            queues.add_metric([kind], depth)
        yield queues

    def _of_collections(self) -> Iterator[Any]:
        one = ("collection",)
        gauges = {
            name: GaugeMetricFamily(f"bebr_{name}", text, labels=one)
            for name, text in {
                "rows": "Live rows.",
                "segments": "Segment files.",
                "tail_rows": "Rows that are not in a segment file yet.",
                "dead_rows": "Rows of segment files that were replaced or removed.",
                "bytes_on_disk": "Segment files and journal.",
                "migration_rows_behind": "Rows that wait for the model of a migration.",
            }.items()
        }
        counters = {
            name: CounterMetricFamily(f"bebr_{name}", text, labels=one)
            for name, text in {
                "seals": "Segment files made of the tail.",
                "merges": "Segment files made of others.",
                "kernel_calls": "Kernel calls of coalesced searches.",
                "kernel_queries": "Their queries.",
            }.items()
        }
        kinds = GaugeMetricFamily("bebr_index_rows", "Rows of files by index kind.", labels=(*one, "kind"))
        models = GaugeMetricFamily("bebr_collection", "Its model.", labels=(*one, "model", "metric", "bytes", "target"))
        for served in self._collections.all_served():
            if served.collection.closed:
                continue
            stats, done, name = served.collection.stats(), served.batching, [served.collection.name]
            for key in ("rows", "segments", "tail_rows", "dead_rows", "bytes_on_disk"):
                gauges[key].add_metric(name, getattr(stats, key))
            gauges["migration_rows_behind"].add_metric(name, stats.rows_behind)
            counters["seals"].add_metric(name, served.collection.seals)
            counters["merges"].add_metric(name, served.collection.merges)
            counters["kernel_calls"].add_metric(name, done.batches)
            counters["kernel_queries"].add_metric(name, done.queries)
            for kind, rows in stats.rows_by_kind.items():
                kinds.add_metric([*name, kind], rows)
            model = stats.model
            labels = [model.digest, model.metric, str(stats.bytes_per_vector), stats.target]
            models.add_metric(name + labels, 1)
        yield from gauges.values()
        yield from counters.values()
        yield kinds
        yield models
