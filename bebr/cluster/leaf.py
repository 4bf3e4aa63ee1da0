"""One leaf, as a root sees it: its address, what it said of itself, and calls of it."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Sequence
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message

from bebr.cluster.names import Shard, Taken, parsed
from bebr.errors import CorruptFile
from bebr.serve.calls import REQUEST_ID, current_call
from bebr.serve.channel import Address, stubs_of
from bebr.serve.front import loaded
from bebr.serve.routing import Place
from bebr.serve.status import error_of
from bebr.serve.target import socket_address
from bebr.v1 import bebr_pb2 as pb

# What another leaf may answer where this one does not: it is away, too slow, damaged, or at fault.
ELSEWHERE = (ConnectionError, TimeoutError, CorruptFile, RuntimeError)

# Seconds between two looks at a leaf, and after which one that says nothing is taken to be away.
EVERY, LOOK = 0.5, 2.0
_LIST, _WHAT = "Collections/List", pb.ListCollectionsRequest(with_aliases=True)
# The same, past gRPC.
LIST_PATH, LISTED = f"/bebr.v1.{_LIST}", _WHAT.SerializeToString()
# What a leaf is, it is asked once it answers again, and at every so many looks: it may have been started anew.
_INFO = 20


class Watched(Protocol):
    """A look past gRPC that goes on (`bebr.cluster.looking`)."""

    def answered(self) -> float: ...

    def forget(self) -> None: ...


class Leaf:
    """The leaf at an address. `alive`: it answered last time; `shards`: what it has; `taken`: what it may be given;
    `limits`: of a call; `shared`: what tells its database from others, empty for a folder. `versions` of its shards, as
    they were after `looked`, by the monotonic clock; `state`: another number after every change to any of them, 0 where
    it is not known. `refuses`: why it lets this root do nothing, where it says so. `place`: where the front of a root
    may call it, None under TLS; `caller`: a connection to there, None where bebr was built without libnghttp2;
    `watched`: it is looked at past gRPC."""

    def __init__(self, address: Address) -> None:
        self.name, self._address = address.target, address
        self.place: Place | None = None
        self._metadata = address.metadata
        self._channel = address.aio_channel()
        self._stubs = stubs_of(self._channel)
        self.alive = self._closed = False
        self.caller: Any = None
        self.watched: Watched | None = None
        self.refuses = ""
        self._looks = 0
        self._newest = self._looked = 0.0
        self.state, self.versions = 0, dict[Shard, int]()
        self.shards: frozenset[Shard] = frozenset()
        self.aliases: dict[str, str] = {}
        self.taken = Taken()
        self.limits = pb.Limits()
        self.shared = ""

    async def call(self, method: str, request: Message, timeout: float | None = None) -> Any:
        """The reply of "Points/Search"; its error as the Python exception that it was there. What a leaf refuses a
        root's key is no fault of who called the root: to that one, the leaf is away."""
        try:
            return await self._stubs[method](request, timeout=timeout, metadata=self._said())
        except grpc.RpcError as error:
            raised = error_of(error, self.name)
            if not isinstance(raised, PermissionError):
                raise raised from None
            self.refuses = f"leaf {raised} (a root shows its leaves a key of role admin: --token)"
            raise ConnectionError(self.refuses) from None
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

    @property
    def looked(self) -> float:
        return self._looked if self.watched is None else max(self._looked, self.watched.answered())

    async def look(self, timeout: float, anew: bool = False) -> None:
        """Asks it what it has; and what it is, where it was away, now and then, or with `anew`."""
        self._looks += 1
        begun = time.monotonic()
        try:
            if anew or not self.alive or self._looks % _INFO == 0:
                info = await self.call("Admin/Info", pb.InfoRequest(), timeout)
                self.limits, self.taken, self.shared = info.limits, Taken(info.taken), info.database
                self._be_at(await self._found(timeout))
            names = await self.call(_LIST, _WHAT, timeout)
        except ELSEWHERE:
            self.alive = False
            return
        self.alive, self.refuses = True, ""
        self._note(begun, names)

    def heard(self, begun: float, said: bytes) -> None:
        """What it said past gRPC."""
        self._note(begun, pb.ListCollectionsResponse.FromString(said))

    def _note(self, begun: float, names: pb.ListCollectionsResponse) -> None:
        """An answer that comes after that of a later question, or after `have`, is old."""
        if begun < self._newest:
            self._ask_again()
            return
        self._newest = self._looked = begun
        shards = list(map(parsed, names.names))
        self.shards, self.aliases = frozenset(shards), dict(names.aliases.aliases)
        self.state, self.versions = names.state, dict(zip(shards, names.versions, strict=False))

    def _ask_again(self) -> None:
        if self.watched is not None:
            self.watched.forget()

    def _be_at(self, place: Place | None) -> None:
        if place == self.place:
            return
        if self.caller is not None:
            self.caller.close()
        self.place, self.caller = place, None if place is None else caller_at(place, self._metadata)

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
        self.shards, self.state, self._newest = shards, 0, time.monotonic()
        self._ask_again()

    async def close(self) -> None:
        """It is gone: calls of it, those in progress too, find nobody."""
        self._closed = True
        self._be_at(None)
        await self._channel.close()


def caller_at(place: Place, metadata: Sequence[tuple[str, str]]) -> Any:
    """None where bebr was built without libnghttp2."""
    extension, _ = loaded()
    if extension is None:
        return None
    about = {"authority": place.name, "headers": list(metadata)}
    return extension.Caller(host=place.host, port=str(place.port), most=2, **about)
