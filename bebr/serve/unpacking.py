"""Compressed requests: gRPC would unpack them before anything counts their bytes, so it is told to leave that."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable

from google.protobuf.message import Message

from bebr.errors import LimitExceeded
from bebr.serve.admission import Budget

# Of a server. The bits are algorithms in gRPC's order (identity, deflate, gzip): gRPC does not say which one a message
# has, and gzip is known by how it begins.
OPTIONS = (("grpc.per_message_decompression", 0), ("grpc.compression_enabled_algorithms_bitset", 0b101))

# No plain message begins so: it would be a field of a wire type that protobuf does not have.
_GZIP = b"\x1f\x8b"
_WBITS = 31  # of zlib: a gzip header and the largest window
# Of a request of gRPC's standard services.
_MOST_STANDARD = 64 << 10


class Unpacking:
    """Of requests of up to ``most`` bytes, counted in ``budget`` while they are unpacked."""

    def __init__(self, most: int, budget: Budget) -> None:
        self._most, self._budget = most, budget

    async def message(self, data: bytes) -> bytes:
        """A request as its client wrote it. ``LimitExceeded``, before it is unpacked; ``ValueError`` for one that is
        damaged."""
        if not data.startswith(_GZIP):
            return data
        size = _size(data, self._most)
        with self._budget.hold(size, "the request"):
            return await asyncio.to_thread(_unpacked, data, size)

    async def messages(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same of each of a stream."""
        async for data in stream:
            yield await self.message(data)


def standard(kind: type[Message]) -> Callable[[bytes], Message]:
    """What reads requests of gRPC's standard services."""

    def read(data: bytes) -> Message:
        return kind.FromString(_unpacked(data, _size(data, _MOST_STANDARD)) if data.startswith(_GZIP) else data)

    return read


def _size(data: bytes, most: int) -> int:
    """Bytes that it says it has, unpacked. One that says less than it has is not unpacked any further."""
    size = int.from_bytes(data[-4:], "little")
    if size > most:
        raise LimitExceeded(
            f"the request has {size} bytes unpacked: this server takes at most {most}; send less at once"
        )
    return size


def _unpacked(data: bytes, size: int) -> bytes:
    unpacker = zlib.decompressobj(_WBITS)
    try:
        whole = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"the request begins as gzip and cannot be unpacked: {error}") from error
    if len(whole) != size or not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"the request begins as gzip and is not one of {size} bytes, as its end says")
    return whole
