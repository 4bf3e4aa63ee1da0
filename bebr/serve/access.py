"""Who may call what: every RPC has its role here, and every call passes `Access` before anything is done for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from bebr.errors import CorruptFile
from bebr.serve import audit
from bebr.serve.calls import current_call
from bebr.serve.keys import Key, KeyFile, Role
from bebr.serve.peers import TurnedAway, peer_of
from bebr.serve.status import Refused, status_of
from bebr.v1 import bebr_pb2 as pb

_log = logging.getLogger("bebr.serve")

_HEALTH = "/grpc.health.v1.Health/"
_OURS = f"/{pb.DESCRIPTOR.package}."
_REFLECTION = ("/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/")


# What callers are told. The front says it too, so it stands here once.
NO_KEY = (
    "this server asks for a key: bebr.connect(..., token=KEY), or metadata 'authorization: Bearer KEY'; "
    "`bebr keys create` makes one"
)
WRONG_KEY = (
    "this is no key of this server, or it was revoked: want 'authorization: Bearer KEY' with one that "
    "`bebr keys create` has made"
)


def not_granted(key: Key, name: str) -> str:
    """What a caller is told of a collection or an alias that its key is not for."""
    return f"key {key.name!r} is not granted {name!r}: use one that `bebr keys create --collection` made for it"


@dataclass(frozen=True)
class Rule:
    """``names``: fields of the request that name a collection or an alias; a key must be granted each."""

    role: Role
    names: tuple[str, ...] = ()


# Models and the producer hold no rows: every key may read them.
RULES = {
    "Collections/Create": Rule(Role.ADMIN, ("name",)),
    "Collections/Get": Rule(Role.READ, ("name",)),
    "Collections/List": Rule(Role.READ),
    "Collections/Drop": Rule(Role.ADMIN, ("name",)),
    "Collections/SetAlias": Rule(Role.ADMIN, ("alias", "collection")),
    "Collections/DropAlias": Rule(Role.ADMIN, ("alias",)),
    "Collections/ListAliases": Rule(Role.READ),
    "Collections/Migrate": Rule(Role.ADMIN, ("name",)),
    "Collections/Cutover": Rule(Role.ADMIN, ("name",)),
    "Collections/Rollback": Rule(Role.ADMIN, ("name",)),
    "Collections/Truncate": Rule(Role.ADMIN, ("name",)),
    "Collections/Retrain": Rule(Role.ADMIN, ("name",)),
    "Models/Register": Rule(Role.ADMIN),
    "Models/List": Rule(Role.READ),
    "Models/Get": Rule(Role.READ),
    "Points/Upsert": Rule(Role.WRITE, ("collection",)),
    "Points/UpsertStream": Rule(Role.WRITE, ("collection",)),
    "Points/Delete": Rule(Role.WRITE, ("collection",)),
    "Points/Count": Rule(Role.READ, ("collection",)),
    "Points/Search": Rule(Role.READ, ("collection",)),
    "Points/GetPayloads": Rule(Role.READ, ("collection",)),
    "Points/Get": Rule(Role.READ, ("collection",)),
    "Points/SetPayloads": Rule(Role.WRITE, ("collection",)),
    "Points/Scroll": Rule(Role.READ, ("collection",)),
    "Producer/Describe": Rule(Role.READ),
    "Producer/Embed": Rule(Role.READ),
    "Snapshots/Create": Rule(Role.ADMIN),
    "Snapshots/List": Rule(Role.ADMIN),
    "Snapshots/Restore": Rule(Role.ADMIN, ("collection", "name")),
    "Admin/Info": Rule(Role.READ),
    "Admin/Stats": Rule(Role.READ, ("collection",)),
    "Admin/Flush": Rule(Role.WRITE, ("collection",)),
    "Admin/MeasureRecall": Rule(Role.READ, ("collection",)),
}

# Of the call that is under way; None for health without a key. gRPC runs the interceptor and the handler of an RPC in
# one task.
_caller: ContextVar[Key | None] = ContextVar("_caller")


class Access(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets calls in by the keys of ``keys``; without one (None) lets everybody do everything.

    A call without a right key is answered before its message is received.
    """

    def __init__(self, keys: KeyFile | None) -> None:
        self._file = keys
        self.turned_away = TurnedAway()

    @property
    def interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """What the server needs to be made with: nothing is in the way of calls where there are no keys."""
        return [] if self._file is None else [self]

    async def intercept_service(self, continuation: Callable[..., Awaitable[Any]], details: Any) -> Any:
        tokens = _tokens(details)
        if details.method.startswith(_HEALTH) and not tokens:
            _caller.set(None)
        else:
            try:
                self.enter(details.method.removeprefix(_OURS), tokens)
            except Refused as refused:
                return self._refusal(refused, details)
        return await continuation(details)

    @property
    def open(self) -> bool:
        """Whether it asks for no keys."""
        return self._file is None

    def enter(self, method: str, tokens: list[str]) -> None:
        """Lets a call in that came with ``tokens``: it is the call that is under way from now on in this task.
        ``method``: "Points/Search", or as gRPC writes that of another service. `Refused` without a right key, or with
        one of too small a role."""
        if self._file is None:
            return
        key = None
        try:
            key = self._identify(tokens)
            _check_role(key, method)
        except Refused as refused:
            if key is not None and _needed(method) is Role.ADMIN:
                refused.who = key.name
            raise
        _caller.set(key)

    def note_refused(self, refused: Refused, peer: str, method: str) -> None:
        """A call that was not let in is logged, with who sent it ("ipv4:10.0.0.7:51234"): one without a right key, and
        one that needs the role admin."""
        if refused.code is grpc.StatusCode.UNAUTHENTICATED:
            self.turned_away.note(peer, method)
        if refused.who is not None:
            audit.note(refused.who, method.removeprefix(_OURS), "", refused.code.name, peer)

    def _identify(self, tokens: list[str]) -> Key:
        assert self._file is not None
        if not tokens:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, NO_KEY)
        try:
            key = self._file.find(tokens[0]) if len(tokens) == 1 else None
        except (CorruptFile, OSError) as error:
            _log.error("nobody is let in: %s", error)
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "the server cannot read its keys: see its log") from None
        if key is None:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, WRONG_KEY)
        return key

    def _refusal(self, refused: Refused, details: Any) -> grpc.RpcMethodHandler:
        """Answers without receiving a message: gRPC receives one before it calls a handler that takes a single one."""

        async def refuse(messages: object, context: Any) -> None:
            self.note_refused(refused, peer_of(context), details.method)
            await context.abort(refused.code, refused.message)

        return grpc.stream_stream_rpc_method_handler(refuse)

    def caller(self) -> Key | None:
        """Whose call is under way; None for anybody, where there are no keys."""
        return None if self._file is None else _caller.get()

    @contextmanager
    def admitted(self, method: str, request: Message) -> Iterator[None]:
        """The block is the work of a call. `Refused` where its key is not granted what the request names. Calls that
        need the role admin are noted in the audit log, whatever comes of them."""
        rule = RULES[method]
        key = self.caller()
        result = "OK"
        try:
            self.check_grants(method, request)
            yield
        except Exception as error:
            result = (status_of(error) or (grpc.StatusCode.INTERNAL, ""))[0].name
            raise
        except BaseException:
            result = grpc.StatusCode.CANCELLED.name
            raise
        finally:
            if rule.role is Role.ADMIN:
                named = [f"{name}={getattr(request, name)!r}" for name in rule.names]
                call = current_call()
                peer = "" if call is None else call.peer
                audit.note("-" if key is None else key.name, method, ",".join(named), result, peer)

    def check_role(self, method: str) -> None:
        """`Refused` where the key of the call that is under way has too small a role for ``method``."""
        if (key := self.caller()) is not None:
            _check_role(key, method)

    def check_all_granted(self) -> None:
        """`Refused` where the call's key is for some collections alone."""
        if (key := self.caller()) is not None and key.collections is not None:
            raise Refused(
                grpc.StatusCode.PERMISSION_DENIED,
                f"key {key.name!r} is for some collections, and this tells of all: use one without --collection",
            )

    def check_grants(self, method: str, request: Message) -> None:
        """`Refused` where the key is not granted a collection or an alias that the request names."""
        if self._file is None:
            return
        for field in RULES[method].names:
            self.check_grant(getattr(request, field))

    def check_grant(self, name: str) -> None:
        """`Refused` where the call's key is not granted this name."""
        if self._file is None:
            return
        key = _caller.get()
        if key is None:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "this server asks for a key to tell of a collection")
        if name and not key.granted(name):
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, not_granted(key, name))

    def shown(self, reply: Message) -> Message:
        """A reply without the collections and aliases that the key is not granted."""
        key = self.caller()
        if key is None or key.collections is None:
            return reply
        if isinstance(reply, pb.ListCollectionsResponse):
            aliases = self.shown(reply.aliases) if reply.HasField("aliases") else None
            return pb.ListCollectionsResponse(names=filter(key.granted, reply.names), aliases=aliases)
        if isinstance(reply, pb.ListAliasesResponse):
            granted = {alias: name for alias, name in reply.aliases.items() if key.granted(alias)}
            return pb.ListAliasesResponse(aliases=granted)
        if isinstance(reply, pb.ListSnapshotsResponse):
            for snapshot in reply.snapshots:
                for name in [name for name in snapshot.collections if not key.granted(name)]:
                    del snapshot.collections[name]
        return reply


def _tokens(details: Any) -> list[str]:
    """What stands behind "Bearer" in each authorization of a call; "" where something else does."""
    found = []
    for name, value in details.invocation_metadata or ():
        if name == "authorization":
            text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
            scheme, _, token = text.partition(" ")
            found.append(token.strip() if scheme.lower() == "bearer" else "")
    return found


def _needed(method: str) -> Role | None:
    """The role for a method of bebr.v1, as "Service/Method"; None if there is no such method."""
    rule = RULES.get(method)
    return None if rule is None else rule.role


def _check_role(key: Key, method: str) -> None:
    """``method``: as of `Access.enter`. Names that nothing answers to pass: gRPC says so itself."""
    if method.startswith((_HEALTH, *_REFLECTION)):
        return
    needed = _needed(method)
    if needed is not None and key.role < needed:
        raise Refused(
            grpc.StatusCode.PERMISSION_DENIED,
            f"key {key.name!r} has the role {key.role.name.lower()}, and {method} needs {needed.name.lower()}: "
            "use a key of that role",
        )
