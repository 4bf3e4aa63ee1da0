"""What a light client asks of a protocol."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from benchmarks.datasets import Floats


class Line(Protocol):
    """A connection that is ready for requests, one of them outstanding at a time."""

    socket: socket.socket

    def ask(self, request: bytes) -> bytes:
        """What to send for a request of `Wire.request`."""
        ...

    def take(self, data: bytes) -> bytes | None:
        """The reply, once the bytes that came are a whole one. ``RuntimeError`` where it is an error, or no reply."""
        ...


class Wire(Protocol):
    """Searches of one server, all for as many rows at one effort."""

    def connect(self) -> Line: ...

    def request(self, query: Floats) -> bytes: ...

    def ids(self, reply: bytes) -> list[int]: ...


class Plain:
    """A line whose requests go out as they are. ``whole``: the length of the reply that bytes begin with, None while
    some of it is missing; RuntimeError where it is an error."""

    def __init__(self, connected: socket.socket, whole: Callable[[bytes], int | None]) -> None:
        self.socket, self._whole, self._got = connected, whole, b""

    def ask(self, request: bytes) -> bytes:
        return request

    def take(self, data: bytes) -> bytes | None:
        got = self._got + data
        size = self._whole(got)
        if size is None:
            self._got = got
            return None
        if size != len(got):
            raise RuntimeError(f"{len(got) - size} bytes came behind a reply: {got[size : size + 80]!r}")
        self._got = b""
        return got

    def wait(self, request: bytes) -> bytes:
        """The reply, of a blocking socket."""
        self.socket.sendall(request)
        while (reply := self.take(received(self.socket))) is None:
            pass
        return reply


def received(connected: socket.socket) -> bytes:
    """Bytes that came. ``RuntimeError`` where none will."""
    data = connected.recv(1 << 16)
    if not data:
        raise RuntimeError("the server closed the connection")
    return data


def unix(path: str) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.connect(path)
    except BaseException:
        connected.close()
        raise
    return connected
