"""What servers of bebr.v1 have in common, with rows of their own or without: how they listen, and when they stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import grpc

from bebr.serve import unpacking
from bebr.serve.access import Access
from bebr.serve.calls import Calls
from bebr.serve.limits import Limits
from bebr.serve.logs import CallLog
from bebr.serve.tls import Tls
from bebr.serve.tracing import Tracing, configured, exporting, sampling

# How long a stopping server lets calls in progress finish, in seconds.
GRACE = 10.0

# Calls of one connection at once; more wait in the client. It bounds what one connection can have gRPC receive: no call
# counts in the memory of calls before its message is complete.
_STREAMS = 256

# Seconds between two looks whether all calls are answered.
_STOP_PAUSE = 0.05


def grpc_server(limits: Limits, access: Access, shared: bool = False) -> grpc.aio.Server:
    """Without services so far. `shared`: others may listen on its port, too."""
    options = [
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", -1),  # replies are checked by Limits, with a message that says what to do
        ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.so_reuseport", int(shared)),  # else a port in use is an error, not a second server behind it
        *unpacking.OPTIONS,
    ]
    return grpc.aio.server(options=options, maximum_concurrent_rpcs=limits.calls, interceptors=access.interceptors)


def listen(server: grpc.aio.Server, address: str, tls: Tls | None) -> int:
    """Has a server listen; the port. ``OSError`` if the address cannot be used."""
    try:
        if tls is not None:
            return int(server.add_secure_port(address, tls.credentials()))
        return int(server.add_insecure_port(address))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: in use, or not an address of this machine") from error


async def stop_answered(server: grpc.aio.Server, calls: Calls, grace: float) -> None:
    """Takes no more calls, and waits up to ``grace`` seconds until replies to those in progress are sent. gRPC's own
    stop also waits for each client to say good-bye, which one that asks nothing just now may not do. A request that has
    not come as a whole is cancelled once nothing else is waited for; clients repeat it."""
    stopping = asyncio.ensure_future(server.stop(grace))
    while True:  # a pause first, for calls that gRPC has read and not begun
        await asyncio.wait({stopping}, timeout=_STOP_PAUSE)
        if stopping.done() or not calls.unanswered:
            break
    await server.stop(0)
    await stopping


def address_of(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def stop_signal(log: CallLog) -> asyncio.Event:
    """Set at SIGTERM and SIGINT; at SIGHUP the log's settings are read again."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, log.reread)
    return stopping


def end_at_next_signal() -> None:
    """A second one ends the process at once: everything acknowledged is on disk."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: os._exit(1))


def observed(calls: Calls, log: CallLog) -> Callable[[], None]:
    """Has the log told of calls, and traces where the environment asks for them; returns what sends off the last."""
    calls.listeners.append(log.note)
    if not configured():
        return lambda: None
    tracing = Tracing(exporting(), sampling())
    calls.listeners.append(tracing.note)
    return tracing.close
