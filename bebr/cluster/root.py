"""`bebr root`: leaves behind one address, which speaks bebr.v1."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path

from bebr.cluster.known import Cluster
from bebr.cluster.leaf import Leaf
from bebr.cluster.leaves import Leaves
from bebr.cluster.names import MOST_SHARDS, check_url
from bebr.cluster.ports import held
from bebr.cluster.routes import Routes
from bebr.cluster.services import Admin, Collections, Models, Points, Producer, Snapshots
from bebr.errors import CorruptFile
from bebr.extras import needed
from bebr.serve.access import Access
from bebr.serve.admission import Budget, default_budget
from bebr.serve.calls import Calls
from bebr.serve.channel import Address
from bebr.serve.front import make_front
from bebr.serve.health import Health, add_standard_services
from bebr.serve.keys import KeyFile, keys_in
from bebr.serve.limits import Limits
from bebr.serve.listening import check_host
from bebr.serve.logs import CallLog, LogFormat, start_log
from bebr.serve.rpc import service_handler
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
from bebr.serve.tls import Tls
from bebr.serve.tracing import sampling
from bebr.tls import TLS

# Seconds for which figures wait for those of the last calls.
_TOLD = 1.0


class Root:
    """Belongs to one event loop. `leaves`: their addresses, or what returns those that there are, in a thread, for
    `address` to complete. `shards`: of collections that are made by way of it; `patience`: see `Leaves`;
    `keys`: who may call, None for anybody; `shared`: other roots may have its port, too; `front`: searches go to leaves
    without Python where they can, where bebr was built with libnghttp2."""

    def __init__(
        self,
        leaves: Sequence[str] | Callable[[], Sequence[str]],
        address: Callable[[str], Address],
        shards: int,
        limits: Limits,
        patience: float,
        keys: KeyFile | None = None,
        tls: Tls | None = None,
        shared: bool = False,
        front: bool = True,
    ) -> None:

        def made(leaf: str) -> Leaf:
            return Leaf(address(leaf))

        if callable(leaves):
            self.leaves = Leaves([], patience, leaves, made)
        else:
            self.leaves = Leaves([made(leaf) for leaf in leaves], patience)
        self._tls, self._shared = tls, shared
        self.calls = Calls()
        self._access = access = Access(keys)
        budget, cluster = Budget(limits.memory_bytes), Cluster(self.leaves)
        self._cluster = cluster
        self.front = make_front(limits, budget.shared, True, tls, keys, sampling()) if front else None
        self._routes = None if self.front is None else Routes(self.front, cluster, patience)
        self._loop = asyncio.get_running_loop()
        self._telling: asyncio.Task[None] | None = None
        self._measured = self._logged = False
        self._health = Health(self._looked_at, access)
        self._server = grpc_server(limits, access, shared)
        services = {
            "Collections": Collections(cluster, shards),
            "Models": Models(cluster),
            "Points": Points(cluster, limits, budget),
            "Producer": Producer(cluster),
            "Snapshots": Snapshots(),
            "Admin": Admin(cluster, limits),
        }
        about = limits, budget, self.calls, access
        handlers = [service_handler(name, service, *about) for name, service in services.items()]
        self._server.add_generic_rpc_handlers(handlers)
        add_standard_services(self._server, self._health)

    async def _looked_at(self, name: str) -> None:
        """Says whether all shards of a collection answer."""
        works: bool | None = True
        try:
            await self._cluster.described(name)
        except KeyError:
            works = None
        except (ConnectionError, CorruptFile):
            works = False
        await self._health.set_collection(name, works)

    def serve_metrics(self, port: int) -> tuple[int, Callable[[], None]]:
        """Counts calls from now on, and answers ``/metrics`` on loopback; the port, and what ends that."""
        with needed("server", "--metrics"):
            from bebr.cluster.metrics import RootMetrics
            from bebr.serve.metrics import answered
        made = RootMetrics(self.leaves, self._tell)
        bound, http = answered(made.registry, port)
        self.leaves.told, self.leaves.told_gone = made.asked, made.forget
        self.calls.listeners.append(made.count)
        self._measured = True
        self._record()
        return bound, http.shutdown

    def record(self, wanted: bool) -> None:
        """Whether the log wants to know of searches that the front answers."""
        self._logged = wanted
        self._record()

    def _record(self) -> None:
        if self.front is not None:
            self.front.record(self._measured or self._logged)

    def _tell(self) -> None:
        """Has figures be those of all calls so far; from another thread."""
        front, told = self.front, threading.Event()
        if front is None:
            return

        def tell() -> None:
            front.tell_finished(self.calls, self._access.turned_away)
            told.set()

        self._loop.call_soon_threadsafe(tell)
        told.wait(_TOLD)

    async def start(self, host: str, port: int) -> int:
        """Listens; the port. ``OSError`` if the address cannot be used. Leaves may come later."""
        await self.leaves.start()
        if self.front is None:
            bound = listen(self._server, address_of(host, port), self._tls)
            await self._server.start()
        else:
            listen(self._server, f"unix:{self.front.upstream}", None)
            await self._server.start()
            bound = await asyncio.to_thread(self.front.start, host, port, self._shared)
            self._telling = asyncio.create_task(self.front.tell(self.calls, self._access.turned_away))
        await self._health.set_serving()
        return bound

    async def stop(self, grace: float) -> None:
        """Takes no more calls, and lets those in progress finish for `grace` seconds."""
        end = time.monotonic() + grace
        await self._health.enter_graceful_shutdown()
        if self.front is not None:
            await self.front.drain(grace)
        await stop_answered(self._server, self.calls, max(0.0, end - time.monotonic()))
        await self.leaves.close()
        if self._telling is not None:
            self._telling.cancel()
        if self.front is not None:
            await self.front.stop()
            self.front.tell_finished(self.calls, self._access.turned_away)
        if self._routes is not None:
            await self._routes.close()


def run(
    leaves: Sequence[str] | str,
    shards: int,
    host: str = "127.0.0.1",
    port: int = 7777,
    *,
    patience: float = 10.0,
    max_message_bytes: int = Limits.message_bytes,
    max_memory_bytes: int | None = None,
    grace: float = GRACE,
    keys: str | os.PathLike[str] | None = None,
    insecure: bool = False,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    tls_client_ca: Path | None = None,
    token: str | None = None,
    leaf_tls: TLS | bool | str | os.PathLike[str] | None = None,
    log_format: LogFormat = "text",
    log_level: str = "warning",
    slow_ms: float | None = None,
    share_port: bool = False,
    metrics_port: int | None = None,
) -> None:
    """Answers for the leaves at these addresses, or for those of the shared database at a URL, until SIGTERM or SIGINT;
    prints "listening on host:port". Where no leaf or no database is there, it logs that, and calls get
    ``ConnectionError`` until they are.

    `shards`: of collections that are made by way of it; all roots of a cluster are to have the same. `keys`: the folder
    of keys that callers need; `token`, `leaf_tls`: of the leaves. `share_port`: another root of the same database may
    have the port, until one of the two ends. `metrics_port`: of ``/metrics``, on loopback; 0 takes a free one. Others
    are those of `bebr.serve.server.run`.
    """
    start_log(log_format, log_level)
    if not leaves:
        raise ValueError("leaves is empty: want the addresses of leaves, host:port")
    if not 1 <= shards <= MOST_SHARDS:
        raise ValueError(f"shards is {shards}: want 1 to {MOST_SHARDS}")
    if not patience > 0:
        raise ValueError(f"patience is {patience}: want seconds above 0")

    def address(leaf: str) -> Address:
        return Address.of(leaf, None, 0, token, leaf_tls)

    if isinstance(leaves, str):
        check_url(leaves)
    elif len({address(leaf).target for leaf in leaves}) < len(leaves):
        raise ValueError(f"leaves names one twice: {', '.join(leaves)}")
    memory = default_budget() if max_memory_bytes is None else max_memory_bytes
    limits = Limits(message_bytes=max_message_bytes, memory_bytes=memory)
    file = None if keys is None else keys_in(keys, keys)
    check_host(host, file is not None or tls_client_ca is not None, insecure)
    tls = Tls.of(tls_certificate, tls_key, tls_client_ca)
    about = address, shards, limits, patience, file, tls, share_port
    log = CallLog(slow_ms)
    if not isinstance(leaves, str):
        asyncio.run(_run(partial(Root, leaves, *about), host, port, grace, log, metrics_port))
        return
    with needed("cluster", "bebr root of postgresql://…"):
        from bebr.store.catalog.leaf_table import LeafTable
    with held(host, port, leaves) if share_port else nullcontext(), closing(LeafTable(leaves)) as table:
        asyncio.run(_run(partial(Root, table.addresses, *about), host, port, grace, log, metrics_port))


async def _run(
    make: Callable[[], Root], host: str, port: int, grace: float, log: CallLog, metrics_port: int | None
) -> None:
    stopping = stop_signal(log)
    root = make()  # in the loop that it belongs to
    finish = observed(root.calls, log)
    log.watch(root.record)
    measured = None if metrics_port is None else root.serve_metrics(metrics_port)
    try:
        bound = await root.start(host, port)
    except BaseException:
        await root.stop(0)
        raise
    print(f"listening on {address_of(host, bound)}", flush=True)
    if measured is not None:
        print(f"metrics at http://127.0.0.1:{measured[0]}/metrics", flush=True)
    await stopping.wait()
    end_at_next_signal()
    await root.stop(grace)
    await asyncio.to_thread(finish)
    if measured is not None:
        await asyncio.to_thread(measured[1])
