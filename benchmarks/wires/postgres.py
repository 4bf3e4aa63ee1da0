"""PostgreSQL's protocol, 3.0: a statement is prepared on each connection, then bound, executed and synced by one
write. The server has to trust its users, as that of the benchmarks does: other ways to log in are refused here."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.datasets import Floats
from benchmarks.wires.base import Plain, unix

_VERSION = 3 << 16
_HEAD = struct.Struct(">cI")  # of a message; the length counts itself


def message(kind: bytes, body: bytes) -> bytes:
    return _HEAD.pack(kind, 4 + len(body)) + body


def vector(values: Floats) -> bytes:
    """As pgvector receives one: how many numbers, a zero, the numbers."""
    return struct.pack(">hh", len(values), 0) + values.astype(">f4").tobytes()


def whole(got: bytes) -> int | None:
    """As `Plain` wants it: messages up to the one that says that the server is ready."""
    at = 0
    while len(got) - at >= _HEAD.size:
        kind, size = _HEAD.unpack_from(got, at)
        if len(got) - at <= size:
            return None
        if kind == b"E":
            fields = got[at + _HEAD.size : at + size].split(b"\0")
            raise RuntimeError(f"PostgreSQL answered: {b', '.join(fields).decode(errors='replace')}")
        if kind == b"R" and got[at + _HEAD.size : at + size + 1] != bytes(4):
            raise RuntimeError("PostgreSQL asks for a password: the light client knows --auth=trust alone")
        at += 1 + size
        if kind == b"Z":
            return at
    return None


def messages(reply: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each."""
    at = 0
    while at < len(reply):
        kind, size = _HEAD.unpack_from(reply, at)
        yield kind, reply[at + _HEAD.size : at + 1 + size]
        at += 1 + size


@dataclass(frozen=True)
class Postgres:
    """A statement of one parameter, a vector, whose answers are rows of one number, of a server whose socket is in a
    folder. ``before``: statements of each connection."""

    folder: str
    user: str
    before: Sequence[str]
    statement: str

    def connect(self) -> Plain:
        line = Plain(unix(f"{self.folder}/.s.PGSQL.5432"), whole)
        try:
            hello = struct.pack(">I", _VERSION) + b"user\0%b\0database\0%b\0\0" % ((self.user.encode(),) * 2)
            line.wait(struct.pack(">I", 4 + len(hello)) + hello)
            for one in self.before:
                line.wait(message(b"Q", one.encode() + b"\0"))
            parse = b"search\0%b\0" % self.statement.encode() + struct.pack(">h", 0)
            line.wait(message(b"P", parse) + message(b"S", b""))
        except BaseException:
            line.socket.close()
            raise
        return line

    def request(self, query: Floats) -> bytes:
        sent = vector(query)
        binary = struct.pack(">hhhi", 1, 1, 1, len(sent))  # one format, binary; one parameter, so long
        bind = b"\0search\0" + binary + sent + struct.pack(">h", 0)  # answers as text
        return message(b"B", bind) + message(b"E", b"\0" + bytes(4)) + message(b"S", b"")

    def ids(self, reply: bytes) -> list[int]:
        # of a row: how many columns, and of each its length
        return [int(body[6:]) for kind, body in messages(reply) if kind == b"D"]
