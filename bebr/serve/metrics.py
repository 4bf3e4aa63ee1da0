"""Figures for Prometheus: of calls as they end, of collections and queues when somebody asks (docs/operations.md)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from bebr.about import info
from bebr.errors import is_exhausted
from bebr.serve.admission import Budget
from bebr.serve.call_metrics import CallMetrics
from bebr.serve.front import Front
from bebr.serve.registry import CollectionRegistry

HOST = "127.0.0.1"

# Seconds until connections are accepted again, where there was no file for one.
_REST = 0.1


class Metrics:
    """The metrics of one server. `count` is told of calls that have ended, in its event loop."""

    def __init__(self, collections: CollectionRegistry, budget: Budget, front: Front | None) -> None:
        self._all = CollectorRegistry()
        calls = CallMetrics(collections, front)
        self.count = calls.count
        self._all.register(calls)
        self._all.register(_Figures(collections, budget, front))
        ProcessCollector(registry=self._all)

    def text(self) -> bytes:
        """What ``/metrics`` says. From any thread."""
        return bytes(generate_latest(self._all))

    def serve(self, port: int) -> tuple[int, Any]:
        """As `answered`."""
        return answered(self._all, port)


def answered(registry: CollectorRegistry, port: int) -> tuple[int, Any]:
    """Answers ``/metrics`` on loopback, in threads of its own; the port, and what `shutdown` ends. ``OSError`` if the
    port is in use."""
    try:
        server = make_server(HOST, port, make_wsgi_app(registry), _Server, _Handler)
    except OSError as error:
        raise OSError(f"cannot serve metrics on {HOST}:{port}: {error.strerror}") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port, server


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if is_exhausted(error):
                time.sleep(_REST)  # else the connection that waits would be tried again at once, and for ever
            raise


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not for the log."""


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
                "merging": "1 while files are merged, or are to be.",
            }.items()
        }
        counters = {
            name: CounterMetricFamily(f"bebr_{name}", text, labels=one)
            for name, text in {
                "seals": "Segment files made of the tail.",
                "merges": "Segment files made of others.",
                "kernel_calls": "Kernel calls of coalesced searches.",
                "kernel_queries": "Their queries.",
                "rows_scanned": "Rows that searches looked at, once for each query.",
                "rows_survived": "Rows of these that a part of the code did not rule out.",
            }.items()
        }
        kinds = GaugeMetricFamily("bebr_index_rows", "Rows of files by index kind.", labels=(*one, "kind"))
        places = GaugeMetricFamily("bebr_device_rows", "Rows by where they are searched.", labels=(*one, "device"))
        models = GaugeMetricFamily("bebr_collection", "Its model.", labels=(*one, "model", "metric", "bytes", "target"))
        for served in self._collections.all_served():
            if served.collection.closed:
                continue
            stats, done, name = served.collection.stats(), served.batching, [served.collection.name]
            for key in ("rows", "segments", "tail_rows", "dead_rows", "bytes_on_disk"):
                gauges[key].add_metric(name, getattr(stats, key))
            gauges["migration_rows_behind"].add_metric(name, stats.rows_behind)
            gauges["merging"].add_metric(name, int(stats.merging))
            counters["seals"].add_metric(name, served.collection.seals)
            counters["merges"].add_metric(name, served.collection.merges)
            counters["kernel_calls"].add_metric(name, done.batches)
            counters["kernel_queries"].add_metric(name, done.queries)
            counters["rows_scanned"].add_metric(name, served.work.scanned)
            counters["rows_survived"].add_metric(name, served.work.survivors)
            for kind, rows in stats.rows_by_kind.items():
                kinds.add_metric([*name, kind], rows)
            for device, rows in stats.rows_by_device.items():
                places.add_metric([*name, device], rows)
            model = stats.model
            labels = [model.digest, model.metric, str(stats.bytes_per_vector), stats.target]
            models.add_metric(name + labels, 1)
        yield from gauges.values()
        yield from counters.values()
        yield kinds
        yield places
        yield models
