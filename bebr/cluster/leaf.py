"""One leaf, as a root sees it: its address, what it said of itself, and calls of it."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import Any

import grpc
from google.protobuf.message import Message

from bebr.cluster.names import Shard, Taken, parsed
from bebr.errors import CorruptFile
from bebr.serve.calls import REQUEST_ID, current_call
from bebr.serve.channel import Address, stubs_of
from bebr.serve.routing import Place
from bebr.serve.status import error_of
from bebr.serve.target import socket_address
from bebr.v1 import bebr_pb2 as pb

# What another leaf may answer where this one does not: it is away, too slow, damaged, or at fault.
ELSEWHERE = (ConnectionError, TimeoutError, CorruptFile, RuntimeError)

# What a leaf is, it is asked once it answers again, and at every so many looks: it may have been started anew.
_INFO = 20


class Leaf:
    """The leaf at an address. `alive`: it answered last time; `shards`: what it has; `taken`: what it may be given;
    `limits`: of a call; `shared`: what tells its database from others, empty for a folder. `versions` of its shards, as
    they were after `looked`, by the monotonic clock. `place`: where the front of a root may call it, None under TLS."""

    def __init__(self, address: Address) -> None:
        self.name, self._address = address.target, address
        self.place: Place | None = None
        self._metadata = address.metadata
        self._channel = address.aio_channel()
        self._stubs = stubs_of(self._channel)
        self.alive = self._closed = False
        self._looks = self._newest = 0
        self.looked, self.versions = 0.0, dict[Shard, int]()
        self.shards: frozenset[Shard] = frozenset()
        self.aliases: dict[str, str] = {}
        self.taken = Taken()
        self.limits = pb.Limits()
        self.shared = ""

    async def call(self, method: str, request: Message, timeout: float | None = None) -> Any:
        """The reply of "Points/Search"; its error as the Python exception that it was there."""
        try:
            return await self._stubs[method](request, timeout=timeout, metadata=self._said())
        except grpc.RpcError as error:
            raise error_of(error, self.name) from None
        except (grpc.aio.UsageError, asyncio.CancelledError):
            if not self._closed:
                raise
            raise ConnectionError(f"leaf {self.name} is there no more") from None

    def _said(self) -> tuple[tuple[str, str], ...]:
        """Who calls, and in which call and trace of the root."""
        call = current_call()
        if call is None:
            return self._metadata
        return (*self._metadata, *{**call.trace, REQUEST_ID: call.request_id}.items())

    async def look(self, timeout: float) -> None:
        """Asks it what it is and has. An answer that comes after that of a later question, or after `have`, is old."""
        self._looks += 1
        number, begun = self._looks, time.monotonic()
        try:
            if not self.alive or number % _INFO == 0:
                info = await self.call("Admin/Info", pb.InfoRequest(), timeout)
                self.limits, self.taken, self.shared = info.limits, Taken(info.taken), info.database
                self.place = await self._found(timeout)
            names = await self.call("Collections/List", pb.ListCollectionsRequest(with_aliases=True), timeout)
        except ELSEWHERE:
            self.alive = False
            return
        self.alive = True
        if number < self._newest:
            return
        self._newest = number
        shards = list(map(parsed, names.names))
        self.shards, self.aliases = frozenset(shards), dict(names.aliases.aliases)
        self.looked, self.versions = begun, dict(zip(shards, names.versions, strict=False))

    async def _found(self, timeout: float) -> Place | None:
        """Its place, by a connection where its address is a name, for a name may stand for several."""
        where = socket_address(self._address.target)
        if where is None or self._address.tls is not None:
            return None
        host, port = where
        try:
            ipaddress.ip_address(host)
        except ValueError:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout)
            except (OSError, asyncio.TimeoutError):
                return None
            host = writer.get_extra_info("peername")[0]
            writer.close()
        said = dict(self._metadata)
        return Place(self.name, host, int(port), said.get("authorization", ""))

    def have(self, shards: frozenset[Shard]) -> None:
        """It has these, since a moment ago."""
        self.shards = shards
        self._newest = self._looks + 1

    async def close(self) -> None:
        """It is gone: calls of it, those in progress too, find nobody."""
        self._closed = True
        await self._channel.close()
