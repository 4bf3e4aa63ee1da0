"""The client that :func:`bebr.connect` returns: the interface of a local database, over gRPC. Each call blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import grpc

from bebr.binarizer import Binarizer
from bebr.collection.handle import Handle
from bebr.serve.answers import Answer, read_answer
from bebr.serve.channel import SEARCH, Address, stubs_of
from bebr.serve.client_calls import ClientCalls
from bebr.serve.direct import direct_searches
from bebr.serve.mismatch import mismatch
from bebr.serve.remote import CollectionCalls
from bebr.serve.status import error_of
from bebr.serve.steps import Pause, Search, Step, Steps
from bebr.tls import TLS

C = TypeVar("C", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class _Blocking(Handle, Generic[C]):
    """``_calls`` knows what is asked, ``_run`` asks it."""

    _calls: C

    def _run(self, steps: Steps[R]) -> R:
        raise NotImplementedError


def _blocking(steps: Callable[Concatenate[C, P], Steps[R]]) -> Callable[Concatenate[_Blocking[C], P], R]:
    """The method that does what the steps say."""

    @wraps(steps)
    def method(self: _Blocking[C], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(steps(self._calls, *args, **kwargs))

    return method


class RemoteCollection(_Blocking[CollectionCalls]):
    """A collection on a server; see `bebr.store.collection.Collection`, which it matches method for method."""

    def __init__(self, client: Client, calls: CollectionCalls) -> None:
        self._client = client
        self._calls = calls

    def _run(self, steps: Steps[R]) -> R:
        return self._client._run(steps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as an address: its client's, and its name."""
        return _opened, (self._client, self.name)

    def __repr__(self) -> str:
        return f"RemoteCollection({self.name!r}, model={self._calls.model.digest})"

    def __len__(self) -> int:
        return self._run(self._calls.rows())

    @property
    def name(self) -> str:
        return self._calls.name

    @property
    def binarizer(self) -> Binarizer:
        """The model that it has now, fetched from the server."""
        return self._run(self._calls.binarizer())

    upsert = _blocking(CollectionCalls.upsert)
    set_payloads = _blocking(CollectionCalls.set_payloads)
    delete = _blocking(CollectionCalls.delete)
    truncate = _blocking(CollectionCalls.truncate)
    count = _blocking(CollectionCalls.count)
    get = _blocking(CollectionCalls.get)
    scroll = _blocking(CollectionCalls.scroll)
    search = _blocking(CollectionCalls.search)
    search_ids = _blocking(CollectionCalls.search_ids)
    attach = _blocking(CollectionCalls.attach)
    migrate = _blocking(CollectionCalls.migrate)
    cutover = _blocking(CollectionCalls.cutover)
    rollback = _blocking(CollectionCalls.rollback)
    retrain = _blocking(CollectionCalls.retrain)
    measure_recall = _blocking(CollectionCalls.measure_recall)
    stats = _blocking(CollectionCalls.stats)
    flush = _blocking(CollectionCalls.flush)
    settle = _blocking(CollectionCalls.settle)


def _opening(
    steps: Callable[Concatenate[ClientCalls, P], Steps[CollectionCalls]],
) -> Callable[Concatenate[Client, P], RemoteCollection]:
    """The method that returns the collection that the steps find."""

    @wraps(steps)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> RemoteCollection:
        return RemoteCollection(self, self._run(steps(self._calls, *args, **kwargs)))

    return method


class Client(_Blocking[ClientCalls]):
    """A connection to the server at ``target``: "host:port", or "host" for port 7777. Safe to use from many threads.

    timeout: seconds until a call raises ``TimeoutError``, its retries included; None: no limit.
    retries: how often a call is repeated, with growing pauses, if the server cannot be reached: 0 to 4. Writes that
        ended in an error may be repeated safely.
    token: a key of the server (`bebr keys create`). ``PermissionError`` if it is missing or lacks the needed role.
    tls: a `TLS`, the path of the certificate that signed the server's, or True if one of the authorities that gRPC
        knows did.
    Errors are those of a local database, and ``ConnectionError`` if the server cannot be reached or stops.

    Where possible, searches use their own connections instead of gRPC's client (docs/serving.md); ``info()`` says
    which.

    A pickled client is an address: unpickling it makes a new connection. The token is left out, because pickles are
    stored and sent; the variable BEBR_TOKEN must then have it.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = 60.0,
        retries: int = 4,
        token: str | None = None,
        tls: TLS | bool | str | os.PathLike[str] | None = None,
    ) -> None:
        self._connect(Address.of(target, timeout, retries, token, tls))

    def _connect(self, address: Address) -> None:
        self._address = address
        credentials, options = address.credentials(), address.options()
        if credentials is None:
            self._channel = grpc.insecure_channel(address.target, options=options)
        else:
            self._channel = grpc.secure_channel(address.target, credentials, options=options)
        self._stubs = stubs_of(self._channel, as_bytes=[SEARCH])
        self._calls = ClientCalls(address.target, address.retries)
        self._direct, self._calls.searches = direct_searches(address)
        try:
            self._run(self._calls.connect())
        except BaseException as error:
            self.close()
            if isinstance(error, ConnectionError) and (why := mismatch(address)) is not None:
                raise ConnectionError(why) from error
            raise

    def within(self, timeout: float | None) -> Client:
        """This connection with another time limit for each call: ``db.within(2).collection("docs").search(q, 10)``."""
        other = object.__new__(Client)
        other.__dict__.update(self.__dict__, _address=self._address.within(timeout))
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return _connected, (self._address,)

    def __repr__(self) -> str:
        return f"Client({self._address.target!r})"

    def _run(self, steps: Steps[R]) -> R:
        try:
            step = next(steps)
            while True:
                try:
                    reply = self._done(step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            steps.close()

    def _done(self, step: Step) -> Any:
        """One RPC, its failure as a Python exception; or a pause."""
        if isinstance(step, Search):
            return self._found(step)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return self._asked(step.method, step.request, self._address.timeout)

    def _found(self, step: Search) -> Answer:
        timeout = self._address.timeout
        if self._direct is not None:
            begun = time.monotonic()
            found = self._direct.search(step, timeout)
            if found is not None:
                return found
            timeout = timeout and max(timeout - (time.monotonic() - begun), 0.0)
        return read_answer(self._asked(SEARCH, step.message(), timeout), step)

    def _asked(self, method: str, request: Any, timeout: float | None) -> Any:
        """What gRPC's client says."""
        try:
            return self._stubs[method](request, timeout=timeout, metadata=self._address.metadata)
        except grpc.RpcError as error:
            raise error_of(error, self._address.target) from None
        except ValueError as error:
            if "closed channel" in str(error):
                raise ValueError(f"the connection to {self._address.target} is closed: connect again") from None
            raise

    create_collection = _opening(ClientCalls.create_collection)
    collection = _opening(ClientCalls.collection)
    collections = _blocking(ClientCalls.collections)
    drop_collection = _blocking(ClientCalls.drop_collection)
    set_alias = _blocking(ClientCalls.set_alias)
    drop_alias = _blocking(ClientCalls.drop_alias)
    aliases = _blocking(ClientCalls.aliases)
    snapshot = _blocking(ClientCalls.snapshot)
    snapshots = _blocking(ClientCalls.snapshots)
    restore_collection = _blocking(ClientCalls.restore_collection)
    register_model = _blocking(ClientCalls.register_model)
    model = _blocking(ClientCalls.model)
    models = _blocking(ClientCalls.models)
    producer = _blocking(ClientCalls.producer)
    embed = _blocking(ClientCalls.embed)
    info = _blocking(ClientCalls.info)

    def __contains__(self, name: object) -> bool:
        """Whether there is a collection of this name, be it corrupt."""
        return self._run(self._calls.contains(name))

    def close(self) -> None:
        """Closes the connection. Repeating it is harmless."""
        if self._direct is not None:
            self._direct.close()
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _opened(client: Client, name: str) -> RemoteCollection:
    """What a pickle of a collection calls."""
    return client.collection(name)


def _connected(address: Address) -> Client:
    """What a pickle of a client calls."""
    client = object.__new__(Client)
    client._connect(address)
    return client
