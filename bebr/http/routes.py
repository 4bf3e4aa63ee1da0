"""What a route is: a line of the table that answers requests, checks bodies and writes the OpenAPI page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bebr.http.fields import Field
from bebr.http.values import dump
from bebr.serve.admission import Budget
from bebr.serve.queues import FairQueue
from bebr.serve.registry import CollectionRegistry, ServedCollection
from bebr.serve.rpc import Services

T = TypeVar("T")

# A body, or a reply, of more bytes is read, or written, in a thread: it would hold up the event loop.
_FEW_BYTES = 1 << 16
# Bytes of a reply as text, for one as a message: nine digits of a float, and the text before it is encoded.
_TEXT = 8


class Asked:
    """One request: its ``path``, the values of its fields, and what answers it."""

    def __init__(
        self,
        registry: CollectionRegistry,
        services: Services,
        budget: Budget,
        threads: FairQueue,
        path: Mapping[str, str],
        size: int,
    ) -> None:
        self.registry, self._services, self._budget, self._threads = registry, services, budget, threads
        self.path = path
        self.values: Mapping[str, Any] = {}
        self._size = size

    def __getitem__(self, field: str) -> Any:
        """The value of a field, its default where it is not given."""
        return self.values[field]

    @property
    def name(self) -> str:
        """The collection that the path names."""
        return self.path.get("name", "")

    async def served(self) -> ServedCollection:
        """That collection. `Refused` without a grant of it, ``KeyError`` if there is none."""
        self._services.access.check_grant(self.name)
        return await self.registry.served(self.name)

    async def call(self, rpc: str, make: Callable[[], Any]) -> Any:
        """The reply of an RPC to the message that ``make`` makes of the body."""
        return await self._services.call(rpc, await self.read(make))

    async def read(self, work: Callable[[], T]) -> T:
        """Runs work that grows with the body."""
        return await self._run(self._size, work)

    async def write(self, reply: Any, work: Callable[[], bytes]) -> bytes:
        """The text of a reply."""
        size = _TEXT * reply.ByteSize()
        with self._budget.hold(size, "the reply"):
            return await self._run(size, work)

    async def _run(self, size: int, work: Callable[[], T]) -> T:
        return work() if size <= _FEW_BYTES else await self._threads.run(self.name, work)


Work = Callable[[Asked], Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    """``rpc``: whose role a key needs, and by whose name the call is counted. ``work`` returns what `dump` takes, or
    JSON as bytes. ``answer``: an example of it."""

    verb: str
    path: str
    rpc: str
    text: str
    work: Work
    answer: Any
    fields: Mapping[str, Field] = field(default_factory=dict)

    async def run(self, asked: Asked) -> bytes:
        found = await self.work(asked)
        return found if isinstance(found, bytes) else dump(found)
