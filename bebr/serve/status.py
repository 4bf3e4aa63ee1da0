"""Python exceptions and gRPC status codes: one table, read in both directions."""

from __future__ import annotations

import os

import grpc

from bebr.collection.protocol import AlreadyExists, DatabaseLocked
from bebr.errors import CorruptFile, IncompatibleModel, LimitExceeded, is_exhausted

# First match wins: subclasses before their bases.
_TABLE: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (IncompatibleModel, grpc.StatusCode.FAILED_PRECONDITION),
    (CorruptFile, grpc.StatusCode.DATA_LOSS),
    (LimitExceeded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DatabaseLocked, grpc.StatusCode.ABORTED),
    (KeyError, grpc.StatusCode.NOT_FOUND),
    (ValueError, grpc.StatusCode.INVALID_ARGUMENT),
    (MemoryError, grpc.StatusCode.RESOURCE_EXHAUSTED),
)


# Bytes of a message. gRPC writes each of them as up to three in a header, and refuses headers of more than 8 to 16 KiB;
# behind the front one of more than 64 KiB would end all calls of the caller's connection.
_MOST_TOLD = 2048


class Refused(Exception):
    """UNAUTHENTICATED or PERMISSION_DENIED. The message says what would be right, and never repeats a key."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.who: str | None = None
        """The name of the key with which an admin call came, where that may not make it."""


def status_of(error: Exception) -> tuple[grpc.StatusCode, str] | None:
    """The status code and message for an error that the caller can act on; None for a fault of the server."""
    if isinstance(error, Refused):
        return error.code, error.message
    if isinstance(error, OSError) and is_exhausted(error):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, f"the server has no more to give: {os.strerror(error.errno or 0)}"
    if isinstance(error, ConnectionError) and error.errno is None:  # PostgreSQL, an object store, or a leaf is away
        return grpc.StatusCode.UNAVAILABLE, str(error)
    for kind, code in _TABLE:
        if isinstance(error, kind):
            # str() of a KeyError is the repr of its message.
            return code, str(error.args[0]) if error.args else str(code.name)
    return None


def told(message: str) -> str:
    """A message as a status of gRPC takes it: without its middle, where it repeats much of a request."""
    data = message.encode(errors="replace")
    if len(data) <= _MOST_TOLD:
        return message
    mark = " … ".encode()
    end = _MOST_TOLD // 4
    parts = data[: _MOST_TOLD - end - len(mark)], mark, data[-end:]
    return b"".join(parts).decode(errors="ignore")


def status_code(name: str) -> int:
    """The number of a status, by its name."""
    number: int = grpc.StatusCode[name].value[0]
    return number


def error_of(error: grpc.RpcError, target: str) -> Exception:
    """What the client raises for a failed call: the exception that the same mistake raises locally."""
    return error_of_status(error.code(), error.details() or "", target)


def error_of_status(code: grpc.StatusCode, message: str, target: str) -> Exception:
    """`error_of` a status and its message."""
    if code == grpc.StatusCode.UNAVAILABLE:
        return ConnectionError(f"no answer from a bebr server at {target}: {message}")
    if code == grpc.StatusCode.CANCELLED:
        # Nothing here cancels a call: the server gave it up because it stops (a call that comes while it shuts down
        # is sometimes answered so instead of by UNAVAILABLE), or another thread closed the connection.
        return ConnectionError(f"the bebr server at {target} stopped, or the connection was closed: {message}")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError(f"{target}: {message}")
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return ConnectionError(f"{target} is not a bebr.v1 server: {message}")
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return PermissionError(f"{target}: {message}")
    for kind, known in _TABLE:
        if code == known:
            return kind(message)
    return RuntimeError(f"{target} answered {code.name}: {message}")
