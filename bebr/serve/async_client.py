"""The client that :func:`bebr.connect_async` returns: the methods of `Client`, each to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import grpc

from bebr.binarizer import Binarizer
from bebr.collection.handle import Handle
from bebr.serve.answers import read_answer
from bebr.serve.channel import SEARCH, Address, stubs_of
from bebr.serve.client_calls import ClientCalls
from bebr.serve.mismatch import mismatch
from bebr.serve.remote import CollectionCalls
from bebr.serve.status import error_of
from bebr.serve.steps import Pause, Search, Step, Steps

C = TypeVar("C", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class _Awaited(Handle, Generic[C]):
    """``_known`` finds who knows what is asked, ``_run`` asks it."""

    async def _known(self) -> C:
        raise NotImplementedError

    async def _run(self, steps: Steps[R]) -> R:
        raise NotImplementedError


def _awaited(
    steps: Callable[Concatenate[C, P], Steps[R]],
) -> Callable[Concatenate[_Awaited[C], P], Coroutine[Any, Any, R]]:
    """The coroutine that does what the steps say."""

    @wraps(steps)
    async def method(self: _Awaited[C], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._run(steps(await self._known(), *args, **kwargs))

    return method


class AsyncCollection(_Awaited[CollectionCalls]):
    """A collection on a server; see `bebr.serve.client.RemoteCollection`. `count()` stands for ``len``."""

    def __init__(self, client: AsyncClient, name: str, calls: CollectionCalls | None = None) -> None:
        self._client = client
        self._name = name
        self._calls = calls

    async def _known(self) -> CollectionCalls:
        if self._calls is None:  # unpickled
            calls = await self._client._known()
            self._calls = await self._client._run(calls.collection(self._name))
        return self._calls

    async def _run(self, steps: Steps[R]) -> R:
        return await self._client._run(steps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as an address: its client's, and its name."""
        return AsyncCollection, (self._client, self._name)

    def __repr__(self) -> str:
        return f"AsyncCollection({self._name!r})"

    @property
    def name(self) -> str:
        return self._name

    @property
    def client(self) -> AsyncClient:
        """Its connection, to be closed where the collection was unpickled."""
        return self._client

    @property
    def binarizer(self) -> Awaitable[Binarizer]:
        """The model that it has now, fetched from the server: ``await docs.binarizer``."""
        return self._binarizer()

    _binarizer = _awaited(CollectionCalls.binarizer)
    upsert = _awaited(CollectionCalls.upsert)
    set_payloads = _awaited(CollectionCalls.set_payloads)
    delete = _awaited(CollectionCalls.delete)
    truncate = _awaited(CollectionCalls.truncate)
    count = _awaited(CollectionCalls.count)
    get = _awaited(CollectionCalls.get)
    scroll = _awaited(CollectionCalls.scroll)
    search = _awaited(CollectionCalls.search)
    search_ids = _awaited(CollectionCalls.search_ids)
    attach = _awaited(CollectionCalls.attach)
    migrate = _awaited(CollectionCalls.migrate)
    cutover = _awaited(CollectionCalls.cutover)
    rollback = _awaited(CollectionCalls.rollback)
    retrain = _awaited(CollectionCalls.retrain)
    measure_recall = _awaited(CollectionCalls.measure_recall)
    stats = _awaited(CollectionCalls.stats)
    flush = _awaited(CollectionCalls.flush)
    settle = _awaited(CollectionCalls.settle)


def _opening(
    steps: Callable[Concatenate[ClientCalls, P], Steps[CollectionCalls]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, AsyncCollection]]:
    """The coroutine that returns the collection that the steps find."""

    @wraps(steps)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncCollection:
        calls = await self._run(steps(await self._known(), *args, **kwargs))
        return AsyncCollection(self, calls.name, calls)

    return method


class _Connection:
    """A channel of one event loop, and what the server said of itself; made by the first call."""

    def __init__(self, address: Address) -> None:
        self.channel = address.aio_channel()
        self.stubs = stubs_of(self.channel, as_bytes=[SEARCH])
        self.calls = ClientCalls(address.target, address.retries)


class AsyncClient(_Awaited[ClientCalls]):
    """A connection to a server, of one event loop: the methods, arguments, results and errors of
    `bebr.serve.client.Client`. A task that is cancelled cancels its call on the server. ``name in await
    db.collections()`` stands for ``name in db``.

    Pickled, it is an address, as a `Client` is; the first call of what was unpickled connects.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._shared: list[_Connection] = []  # one, once there is a loop; of all that `within` made

    def within(self, timeout: float | None) -> AsyncClient:
        """This connection with another time limit for each call."""
        other = AsyncClient(self._address.within(timeout))
        other._shared = self._shared
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return AsyncClient, (self._address,)

    def __repr__(self) -> str:
        return f"AsyncClient({self._address.target!r})"

    def _connection(self) -> _Connection:
        if not self._shared:
            self._shared.append(_Connection(self._address))
        return self._shared[0]

    async def _known(self) -> ClientCalls:
        connection = self._connection()
        if not connection.calls.limits.message_bytes:
            try:
                await self._run(connection.calls.connect())
            except ConnectionError as error:
                why = await asyncio.to_thread(mismatch, self._address)
                if why is not None:
                    raise ConnectionError(why) from error
                raise
        return connection.calls

    async def _run(self, steps: Steps[R]) -> R:
        with closing(steps):
            try:
                step = next(steps)
                while True:
                    try:
                        reply = await self._done(step)
                    except Exception as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(reply)
            except StopIteration as end:
                result: R = end.value
                return result

    async def _done(self, step: Step) -> Any:
        """One RPC, its failure as a Python exception; or a pause."""
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Search):
            return read_answer(await self._asked(SEARCH, step.message()), step)
        return await self._asked(step.method, step.request)

    async def _asked(self, method: str, request: Any) -> Any:
        """What gRPC's client says."""
        try:
            ask = self._connection().stubs[method]
            return await ask(request, timeout=self._address.timeout, metadata=self._address.metadata)
        except grpc.RpcError as error:
            raise error_of(error, self._address.target) from None
        except grpc.aio.UsageError:
            raise ValueError(f"the connection to {self._address.target} is closed: connect again") from None

    create_collection = _opening(ClientCalls.create_collection)
    collection = _opening(ClientCalls.collection)
    collections = _awaited(ClientCalls.collections)
    drop_collection = _awaited(ClientCalls.drop_collection)
    set_alias = _awaited(ClientCalls.set_alias)
    drop_alias = _awaited(ClientCalls.drop_alias)
    aliases = _awaited(ClientCalls.aliases)
    snapshot = _awaited(ClientCalls.snapshot)
    snapshots = _awaited(ClientCalls.snapshots)
    restore_collection = _awaited(ClientCalls.restore_collection)
    register_model = _awaited(ClientCalls.register_model)
    model = _awaited(ClientCalls.model)
    models = _awaited(ClientCalls.models)
    producer = _awaited(ClientCalls.producer)
    embed = _awaited(ClientCalls.embed)
    info = _awaited(ClientCalls.info)

    async def close(self) -> None:
        """Closes the connection. Repeating it is harmless."""
        await self._connection().channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def connected(address: Address) -> AsyncClient:
    """A client that has reached its server."""
    client = AsyncClient(address)
    try:
        await client._known()
    except BaseException:
        await client.close()
        raise
    return client
