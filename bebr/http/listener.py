"""Listens for HTTP in the event loop of a gRPC server, starts and stops with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn

from bebr.http.app import make_app
from bebr.http.endpoint import Api
from bebr.http.latency import Latency
from bebr.serve.listening import is_loopback
from bebr.serve.queues import FairQueue
from bebr.serve.running import address_of
from bebr.serve.server import Server

# Large bodies and replies as text: two at a time, one of a collection.
_THREADS, _SHARE = 2, 1
# Seconds between looks at whether it listens.
_LOOK = 0.01
# A connection that says nothing is closed after so many seconds.
_KEEP_ALIVE = 30
# Connections that may wait to be accepted.
_BACKLOG = 2048


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are the server's


class Http:
    """What `bebr serve --http PORT` adds; ``port`` 0 takes a free one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._threads: FairQueue | None = None
        self._uvicorn: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, server: Server, host: str) -> str:
        """Answers by the services of ``server``; returns where, in words. ``OSError`` if the address cannot be used,
        ``ValueError`` for a file of TLS."""
        self._threads = threads = FairQueue(_THREADS, _SHARE, "bebr-http")
        latency = Latency()
        server.calls.listeners.append(latency.note)
        api = Api(server.registry, server.services, server.access, server.limits, server.budget, server.calls, threads)
        app = make_app(api, latency.series, server.metrics().text, host, is_loopback(host))
        tls = server.tls
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            limit_concurrency=server.limits.calls,
            backlog=1,  # how often asyncio accepts at a time; without open files it tries each second, for each of them
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
            ssl_ca_certs=None if tls is None or tls.client_ca is None else str(tls.client_ca),
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
        )
        try:
            config.load()
        except ssl.SSLError as error:
            raise ValueError(f"tls_certificate, tls_key or tls_client_ca cannot be used: {error}") from error
        listening = _listen(host, self._port)
        self._uvicorn = _Uvicorn(config)
        self._serving = asyncio.create_task(self._uvicorn.serve([listening]))
        while not self._uvicorn.started and not self._serving.done():
            await asyncio.sleep(_LOOK)
        listening.listen(_BACKLOG)
        port = listening.getsockname()[1]
        return f"http at {'http' if tls is None else 'https'}://{address_of(host, port)}/"

    async def stop(self, grace: float) -> None:
        """Takes no more calls and lets those in progress finish for ``grace`` seconds."""
        if self._uvicorn is None or self._serving is None or self._threads is None:
            return
        self._uvicorn.config.timeout_graceful_shutdown = grace  # type: ignore[assignment]
        self._uvicorn.should_exit = True
        await self._serving
        await self._threads.close()


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise OSError(f"cannot listen for HTTP on {address_of(host, port)}: {error.strerror}") from error
    return made
