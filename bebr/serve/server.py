"""`bebr serve`: a data folder, or a shared database, over gRPC, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bebr.extras import needed
from bebr.serve.access import Access
from bebr.serve.admission import Budget, default_budget
from bebr.serve.budgets import Most
from bebr.serve.calls import Calls
from bebr.serve.front import make_front
from bebr.serve.health import Health, add_standard_services
from bebr.serve.keys import KeyFile, keys_in
from bebr.serve.limits import Limits
from bebr.serve.listening import check_host
from bebr.serve.logs import CallLog, LogFormat, start_log
from bebr.serve.producing import Producer, Producing
from bebr.serve.registry import ALL, CollectionRegistry, Taken
from bebr.serve.rpc import Services, service_handler
from bebr.serve.running import (
    GRACE,
    address_of,
    end_at_next_signal,
    grpc_server,
    listen,
    observed,
    stop_answered,
    stop_signal,
)
from bebr.serve.services import Admin, Collections, Models, Points
from bebr.serve.snapshots import Snapshots
from bebr.serve.tls import Tls
from bebr.serve.tracing import sampling
from bebr.store.database import Database
from bebr.threads import set_num_threads

if TYPE_CHECKING:
    from bebr.serve.metrics import Metrics

# Seconds after which a thread that computes in Python lets another go on, by default 5 ms. A call changes threads
# several times, and may wait so long each time.
_SWITCH_INTERVAL = 0.001


class Beside(Protocol):
    """What listens beside gRPC, and answers by the same services (`bebr.http.Http`)."""

    async def start(self, server: Server, host: str) -> str: ...

    async def stop(self, grace: float) -> None: ...


class Server:
    """Serves an open database. ``coalesce=False`` runs every search by itself, for comparison; ``front=False`` has
    Python answer all of them. Belongs to one event loop. ``keys``: who may call; None for anybody. ``taken``: which
    collections it serves."""

    def __init__(
        self,
        db: Database,
        limits: Limits,
        coalesce: bool = True,
        producer: Producer | None = None,
        keys: KeyFile | None = None,
        tls: Tls | None = None,
        snapshots: str | None = None,
        front: bool = True,
        most: Most | None = None,
        taken: Taken = ALL,
    ) -> None:
        self.tls = tls
        self.limits = limits
        self.access = access = Access(keys)
        self.budget = budget = Budget(limits.memory_bytes)
        self._front = make_front(limits, budget.shared, coalesce, tls, keys, sampling()) if front else None
        self._health = Health(self._served, access)
        self.registry = CollectionRegistry(db, self._health.set_collection, self._front, most, taken)
        self._producing = Producing(producer, limits)
        self._opening: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._server = grpc_server(limits, access)
        self.calls = Calls()
        services = {
            "Collections": Collections(self.registry, budget),
            "Models": Models(self.registry),
            "Points": Points(self.registry, limits, budget, coalesce),
            "Producer": self._producing,
            "Snapshots": Snapshots(self.registry, snapshots),
            "Admin": Admin(self.registry, limits, budget, coalesce),
        }
        self.services = Services(services, access)
        self._metrics: Metrics | None = None
        self._beside: list[Beside] = []
        about = limits, budget, self.calls, access
        handlers = [service_handler(name, service, *about) for name, service in services.items()]
        self._server.add_generic_rpc_handlers(handlers)
        add_standard_services(self._server, self._health)

    async def _served(self, name: str) -> object:
        return await self.registry.served(name)

    def metrics(self) -> Metrics:
        """Its metrics, which count calls from the first time on that somebody asks for them."""
        if self._metrics is None:
            with needed("server", "--metrics"):
                from bebr.serve.metrics import Metrics
            self._metrics = Metrics(self.registry, self.budget, self._front)
            self.calls.listeners.append(self._metrics.count)
        return self._metrics

    def serve_metrics(self, port: int) -> tuple[int, Callable[[], None]]:
        """Counts calls, and answers ``/metrics`` on loopback; the port, and what ends that."""
        bound, http = self.metrics().serve(port)
        return bound, http.shutdown

    async def listen_beside(self, other: Beside, host: str) -> str:
        """Starts what is to stop with this server; returns where it listens, in words."""
        where = await other.start(self, host)
        self._beside.append(other)
        return where

    def record(self, wanted: bool) -> None:
        """Whether listeners of `calls` want to know of searches that the front answers, too; at first they do not."""
        if self._front is not None:
            self._front.record(wanted)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port (``port`` 0: a free one). ``OSError`` if the address cannot be used.

        Collections are opened when they are asked for, and one after the other in the background. A damaged one is
        logged, and answers DATA_LOSS; the others work.
        """
        if self._front is not None:
            bound = listen(self._server, f"unix:{self._front.upstream}", None)
        else:
            bound = listen(self._server, address_of(host, port), self.tls)
        await self._server.start()
        if self._front is not None:
            try:
                bound = await asyncio.to_thread(self._front.start, host, port)
            except (OSError, ValueError):
                await self._server.stop(0)
                await self._front.stop()
                raise
            self._telling = asyncio.create_task(self._front.tell(self.calls, self.access.turned_away))
        await self._health.set_serving()
        self._opening = asyncio.create_task(self.registry.open_all())
        return int(bound)

    async def stop(self, grace: float) -> None:
        """Says NOT_SERVING, takes no more calls, lets those in progress finish for ``grace`` seconds, then cancels
        them. Writes already begun are finished in any case."""
        if self._opening is not None:
            self._opening.cancel()
        end = time.monotonic() + grace
        await self._health.enter_graceful_shutdown()
        await asyncio.gather(self._drain(end), *(other.stop(grace) for other in self._beside))
        await self.registry.close()
        if self._telling is not None:
            self._telling.cancel()
        if self._front is not None:
            await self._front.stop()
            self._front.tell_finished(self.calls, self.access.turned_away)
        await asyncio.to_thread(self._producing.close)

    async def _drain(self, end: float) -> None:
        """Takes no more calls of gRPC, and lets those in progress finish until ``end``."""
        if self._front is not None:
            await self._front.drain(max(0.0, end - time.monotonic()))
        await stop_answered(self._server, self.calls, max(0.0, end - time.monotonic()))


def run(
    path: str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 7777,
    threads: int | None = None,
    max_message_bytes: int = Limits.message_bytes,
    max_memory_bytes: int | None = None,
    *,
    coalesce: bool = True,
    grace: float = GRACE,
    producer: Producer | None = None,
    metrics_port: int | None = None,
    insecure: bool = False,
    log_format: LogFormat = "text",
    log_level: str = "warning",
    slow_ms: float | None = None,
    tls_certificate: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    tls_client_ca: str | os.PathLike[str] | None = None,
    reread: Callable[[], Mapping[str, Any]] | None = None,
    snapshots: str | None = None,
    front: bool = True,
    max_reply_bytes: int | None = None,
    max_rows: int | None = None,
    max_collections: int | None = None,
    max_disk_bytes: int | None = None,
    max_process_bytes: int | None = None,
    beside: Sequence[Beside] = (),
    segments: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int | None = None,
    lease_seconds: float | None = None,
    device: str = "cpu",
    device_memory: int | str | None = None,
    key_folder: str | os.PathLike[str] | None = None,
    taken: Taken = ALL,
    on_listening: Callable[[str], Callable[[], None]] | None = None,
) -> None:
    """Serves the data folder ``path``, or a shared database by its URL, until SIGTERM or SIGINT. Prints "listening on
    host:port" when it is ready.

    ``port`` 0 takes a free one. ``threads``: of one kernel call, all cores by default. A second signal stops at once.
    ``max_message_bytes``: of one request or reply. ``max_memory_bytes``: what calls in progress may hold together, by
    default a quarter of the memory that this process may use; a message may be no larger than that allows.
    ``producer``: embeds for clients (a :class:`bebr.models.Producer`). ``metrics_port``: of ``/metrics`` for
    Prometheus, on loopback; 0 takes a free one. ``slow_ms``: calls that take so long are logged, with what they did.
    ``reread``: at SIGHUP, returns those of ``log_level`` and ``slow_ms`` that hold from then on.
    Where the folder has keys (`bebr.serve.keys`), calls need one. Without keys it listens beyond this machine only if
    ``insecure`` says so; else ``ValueError``. ``tls_certificate``, ``tls_key``: PEM files, for calls under TLS alone;
    ``tls_client_ca``: only clients whose certificates it signed. ``snapshots``: the folder or URL where
    clients may make snapshots, and list and restore them. ``front``: searches are answered in C++, where bebr was built
    with libnghttp2. ``beside``: what listens beside gRPC, such as `bebr.http.Http`. ``max_reply_bytes``: of one reply,
    by default as of a request. ``max_rows``, ``max_collections``, ``max_disk_bytes``, ``max_process_bytes``: what the
    data may take (:class:`bebr.serve.budgets.Most`). ``segments``, ``cache``, ``cache_bytes``, ``lease_seconds``: with
    a URL, as of `bebr.store.database.Database`. ``device``, ``device_memory``: as of it, too; Python answers searches
    of collections with rows there. ``key_folder``: where the keys are, by default in the data folder.
    ``taken``: which collections it serves, by default all. ``on_listening``: called with "host:port" once it listens,
    in a thread; what it returns is called when it stops.
    ``DatabaseLocked`` if another process has the folder open; ``OSError`` if the address cannot be used.
    """
    start_log(log_format, log_level)
    if threads is not None:
        set_num_threads(threads)
    memory = default_budget() if max_memory_bytes is None else max_memory_bytes
    limits = Limits(message_bytes=max_message_bytes, memory_bytes=memory, reply_bytes=max_reply_bytes or 0)
    most = Most(max_rows, max_collections, max_disk_bytes, max_process_bytes)
    keys = keys_in(key_folder, path)
    check_host(host, keys is not None or tls_client_ca is not None, insecure)
    certificate, key, client_ca = (
        None if file is None else Path(file) for file in (tls_certificate, tls_key, tls_client_ca)
    )
    tls = Tls.of(certificate, key, client_ca)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    about = {"segments": segments, "cache": cache, "cache_bytes": cache_bytes, "lease_seconds": lease_seconds}
    about |= {"device": device, "device_memory": device_memory}
    with Database(path, **about) as db:  # type: ignore[arg-type]
        # A full collection of garbage looks at all that was imported, and holds every call up for 50 ms and more.
        gc.collect()
        gc.freeze()
        log = CallLog(slow_ms, reread)
        made = partial(Server, db, limits, coalesce, producer, keys, tls, snapshots, front, most, taken)
        asyncio.run(_run(made, host, port, grace, metrics_port, log, beside, on_listening))


async def _run(
    make: Callable[[], Server],
    host: str,
    port: int,
    grace: float,
    metrics_port: int | None,
    log: CallLog,
    beside: Sequence[Beside],
    on_listening: Callable[[str], Callable[[], None]] | None,
) -> None:
    stopping = stop_signal(log)
    server = make()  # in the loop that it belongs to
    finish = observed(server.calls, log)
    measured = None if metrics_port is None else server.serve_metrics(metrics_port)
    places = [await server.listen_beside(other, host) for other in beside]
    log.watch(lambda wanted: server.record(bool(beside) or wanted))
    bound = await server.start(host, port)
    gone = None if on_listening is None else await asyncio.to_thread(on_listening, address_of(host, bound))
    print(f"listening on {address_of(host, bound)}", flush=True)
    for place in places:
        print(place, flush=True)
    if measured is not None:
        print(f"metrics at http://127.0.0.1:{measured[0]}/metrics", flush=True)
    await stopping.wait()
    end_at_next_signal()
    if gone is not None:
        await asyncio.to_thread(gone)
    await server.stop(grace)
    await asyncio.to_thread(finish)
    if measured is not None:
        await asyncio.to_thread(measured[1])
