"""The two upserts of Points: of one message, and of a stream of them that is read no faster than it is written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

import numpy as np

from bebr import core
from bebr.collection.checks import check_payload_texts, check_text_rows
from bebr.collection.keys import Named
from bebr.collection.protocol import OnDuplicate
from bebr.errors import Error, IncompatibleModel, LimitExceeded
from bebr.serve import convert
from bebr.serve.admission import COPIES, Budget
from bebr.serve.queues import ended
from bebr.serve.registry import CollectionRegistry, ServedCollection
from bebr.store.collection import Collection
from bebr.store.snapshots.keys import resolve
from bebr.v1 import bebr_pb2 as pb

# Messages of a stream that its writer has and that are not on disk yet: one is coded while others are committed.
_WINDOW = 4


def begin_upsert(served: ServedCollection, request: pb.UpsertRequest) -> Future[int]:
    """Checks and codes the rows of a message; the future is done once they are on disk."""
    ids = convert.named_from_message(request.ids, request.keys, "ids")
    if request.stream_model:
        return _begin_stream(served.collection, ids, request)
    check_own(served.collection, request)
    dim, none = served.collection.binarizer.input_dim, request.without_vector
    vectors = np.empty((0, dim), np.float32)
    if request.HasField("vectors") or not none:
        vectors = convert.vectors_from_message(request.vectors, "vectors")
    texts = _payloads(request, len(ids))
    duplicate: OnDuplicate = "error" if request.refuse_duplicates else "last"
    rows = check_text_rows(ids, vectors, texts, dim, duplicate, none)
    return served.collection.begin_upsert(*rows, convert.conflict_from_message(request))


def _begin_stream(collection: Collection, ids: Named, request: pb.UpsertRequest) -> Future[int]:
    """The same for vectors of another producer."""
    model = collection.successor
    if model is None or model.digest != request.stream_model:
        raise ValueError(f"stream_model is {request.stream_model}, for which no vectors are being streamed")
    if request.payloads or request.without_vector:
        raise ValueError("stream_model beside payloads or without_vector: want vectors alone")
    vectors = convert.vectors_from_message(request.vectors, "vectors")
    rows, floats, _ = check_text_rows(ids, vectors, [], model.input_dim, "last")
    return collection.begin_stream_batch(model, rows, floats)


def check_own(collection: Collection, request: pb.UpsertRequest) -> None:
    """``IncompatibleModel`` unless vectors are for the collection as it is, as far as the request says."""
    own = collection.binarizer.digest
    if request.model and request.model != own and request.collection_id != collection.number:
        raise IncompatibleModel(
            f"the vectors are for model {request.model}, and collection {collection.name!r} has model {own} now: get "
            "it anew, and embed with the producer of that"
        )


def _payloads(request: pb.UpsertRequest, rows: int) -> list[str]:
    """One JSON object a row, or "", or none at all. Plain ones are checked by C++, without Python's lock."""
    texts = list(request.payloads)
    if len(texts) in (0, rows) and core.plain_payloads(texts):
        return texts
    return check_payload_texts(texts, rows)


def spread_bytes(served: ServedCollection, request: pb.UpsertRequest) -> int:
    """What rows without a vector take, which the message does not have."""
    return COPIES * 4 * served.collection.binarizer.input_dim * len(request.without_vector)


async def check_room(registry: CollectionRegistry, served: ServedCollection, request: pb.UpsertRequest) -> ExitStack:
    """Counts the new rows of a message for the length of its write. ``LimitExceeded``, before anything is done, where
    the server may not hold them."""
    budgets, room = registry.budgets, ExitStack()
    if budgets.limited:
        budgets.check_bytes(request.ByteSize(), "the upsert")
        count, left = len(request.ids) // 8, budgets.rows_left()
        if request.stream_model:
            count = 0  # they are of rows that are there
        elif left is not None and count > left:
            count = await served.read(lambda: _count_new(served, request))
        room.enter_context(budgets.new_rows(count))
    return room


def _count_new(served: ServedCollection, request: pb.UpsertRequest) -> int:
    """How many ids of a message are not there yet."""
    ids = convert.named_from_message(request.ids, request.keys, "ids").once()
    snapshot = served.collection.snapshot
    return len(ids) - len(snapshot.present(resolve(snapshot, ids)))


class StreamedUpsert:
    """The messages of one stream, written in their order; `rows` of them are on disk, of so many `received`."""

    def __init__(
        self, registry: CollectionRegistry, budget: Budget, parsed: Callable[[bytes], pb.UpsertRequest]
    ) -> None:
        self._registry = registry
        self._budget = budget
        self._parsed = parsed
        self._begun: deque[tuple[Future[int], ExitStack]] = deque()
        self._failed = False
        self.rows = self.received = 0

    async def run(self, messages: AsyncIterator[bytes]) -> None:
        """Returns when all are on disk. An error says how many rows are; messages whose write has not begun by then,
        or by a cancellation, are taken back."""
        name = ""
        try:
            async for data in messages:
                memory = await self._room(COPIES * len(data))
                with memory:
                    request = self._parsed(data)
                    if name and request.collection not in ("", name):
                        raise ValueError(
                            f"collection is {request.collection!r}: want {name!r}, as in the first message"
                        )
                    name = name or request.collection
                    self.received += len(request.ids) // 8
                    served = await self._registry.served(name)
                    if request.without_vector:
                        memory.enter_context(await self._room(spread_bytes(served, request)))
                    memory.enter_context(await check_room(self._registry, served, request))
                    future = await served.begin(partial(begin_upsert, served, request))
                    self._begun.append((future, memory.pop_all()))
                while len(self._begun) >= _WINDOW:
                    await self._finish()
            while self._begun:
                await self._finish()
        except (ValueError, KeyError, Error) as error:
            await self._settle()
            if not self.rows:
                raise
            kind = type(error) if isinstance(error, Error | KeyError) else ValueError
            raise kind(f"{error.args[0]} (of this stream, the first {self.rows} rows are written)") from error
        finally:
            for future, memory in self._begun:
                with memory:
                    if not future.cancel():
                        await ended(asyncio.wrap_future(future))

    async def _room(self, size: int) -> ExitStack:
        """Counts the memory of a message; where there is none, once what came before it is on disk."""
        while True:
            with ExitStack() as stack:
                try:
                    stack.enter_context(self._budget.hold(size, "a message of the stream"))
                    return stack.pop_all()
                except LimitExceeded:
                    if not self._begun:
                        raise
            await self._finish()

    async def _finish(self) -> None:
        """Waits for the oldest write."""
        future, memory = self._begun.popleft()
        self._failed = True  # unless it returns
        with memory:
            self.rows += await ServedCollection.finish(future)
        self._failed = False

    async def _settle(self) -> None:
        """Waits for writes up to the first that fails: `rows` are then the first of the stream."""
        while self._begun and not self._failed:
            try:
                await self._finish()
            except Exception:
                return  # the first error is the one that is told
