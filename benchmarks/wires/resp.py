"""Redis's protocol, RESP 2: commands as arrays of bulk strings; replies of vector sets as arrays of names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.datasets import Floats
from benchmarks.wires.base import Plain, unix


def command(parts: Sequence[bytes]) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def search(key: bytes, query: Floats, k: int, ef: int) -> list[bytes]:
    """The parts of VSIM: the k names nearest to a vector, best first."""
    return [b"VSIM", key, b"FP32", query.astype("<f4").tobytes(), b"COUNT", b"%d" % k, b"EF", b"%d" % ef]


def whole(got: bytes) -> int | None:
    """As `Plain` wants it, of an array of bulk strings."""
    if got[:1] not in (b"*", b""):
        raise RuntimeError(f"want an array, Redis answered {got[:200]!r}")
    end = got.find(b"\r\n")
    if end < 0:
        return None
    at = end + 2
    for _ in range(int(got[1:end])):
        end = got.find(b"\r\n", at)
        if end < 0:
            return None
        at = end + int(got[at + 1 : end]) + 4
    return at if at <= len(got) else None


@dataclass(frozen=True)
class Resp:
    """The set at a key, of a server that listens at a path. ``ef``: candidates."""

    path: str
    key: bytes
    k: int
    ef: int

    def connect(self) -> Plain:
        return Plain(unix(self.path), whole)

    def request(self, query: Floats) -> bytes:
        return command(search(self.key, query, self.k, self.ef))

    def ids(self, reply: bytes) -> list[int]:
        return list(map(int, reply.split(b"\r\n")[2::2]))
