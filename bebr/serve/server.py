"""`bebr serve`: a data folder over gRPC, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import bebr
from bebr.errors import Error
from bebr.serve.limits import Limits
from bebr.serve.producing import Producer, Producing
from bebr.serve.registry import CollectionRegistry
from bebr.serve.servicer import Admin, Collections, Models, Points
from bebr.store.database import Database
from bebr.v1 import bebr_pb2 as pb
from bebr.v1 import bebr_pb2_grpc as rpc

_log = logging.getLogger("bebr.serve")

# How long a stopping server lets calls in progress finish, in seconds.
GRACE = 10.0


class Server:
    """Serves an open database. ``coalesce=False`` runs every search by itself, for comparison. Belongs to one event
    loop."""

    def __init__(self, db: Database, limits: Limits, coalesce: bool = True, producer: Producer | None = None) -> None:
        self._registry = CollectionRegistry(db)
        self._producing = Producing(producer, limits)
        options = [
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_send_message_length", -1),  # replies are checked by Limits, with a message that says what to do
            ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server behind it
        ]
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limits.calls)
        rpc.add_CollectionsServicer_to_server(Collections(self._registry), self._server)
        rpc.add_ModelsServicer_to_server(Models(self._registry), self._server)
        rpc.add_PointsServicer_to_server(Points(self._registry, limits, coalesce), self._server)
        rpc.add_ProducerServicer_to_server(self._producing, self._server)
        rpc.add_AdminServicer_to_server(Admin(self._registry, limits, coalesce), self._server)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()]
        reflected = [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(reflected, self._server)

    async def start(self, host: str, port: int) -> int:
        """Reads every collection, then listens; returns the port (``port`` 0: a free one). A corrupt collection is
        logged, and answers DATA_LOSS; the others work. ``OSError`` if the address cannot be used."""
        for name in await self._registry.read(self._registry.db.collections):
            try:
                await self._registry.served(name)
            except Error as error:
                _log.error("collection %r cannot be served: %s", name, error)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: in use, or not an address of this machine") from error
        await self._server.start()
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return int(bound)

    async def stop(self, grace: float) -> None:
        """Says NOT_SERVING, takes no more calls, lets those in progress finish for ``grace`` seconds, then cancels
        them. Writes already begun are finished in any case."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
        await asyncio.to_thread(self._registry.close)
        await asyncio.to_thread(self._producing.close)


def run(
    path: str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 7777,
    threads: int | None = None,
    max_message_bytes: int = Limits.message_bytes,
    *,
    coalesce: bool = True,
    grace: float = GRACE,
    producer: Producer | None = None,
) -> None:
    """Serves the data folder ``path`` until SIGTERM or SIGINT. Prints "listening on host:port" when it is ready.

    ``port`` 0 takes a free one. ``threads``: of one kernel call, all cores by default. A second signal stops at once.
    ``producer``: embeds for clients (a :class:`bebr.models.Producer`).
    ``DatabaseLocked`` if another process has the folder open; ``OSError`` if the address cannot be used.
    """
    if threads is not None:
        bebr.set_num_threads(threads)
    with Database(path) as db:
        limits = replace(Limits(), message_bytes=max_message_bytes)
        asyncio.run(_run(lambda: Server(db, limits, coalesce, producer), host, port, grace))


async def _run(make: Callable[[], Server], host: str, port: int, grace: float) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = make()  # in the loop that it belongs to
    bound = await server.start(host, port)
    print(f"listening on {host}:{bound}", flush=True)
    await stopping.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: os._exit(1))  # everything acknowledged is on disk
    await server.stop(grace)
