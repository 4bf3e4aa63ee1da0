"""Where the work of a server happens: threads for reads and for writes, and per collection a batcher and a queue of
writes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.errors import IncompatibleModel
from bebr.index import Hits
from bebr.serve.batching import Batcher, Key
from bebr.store.collection import Collection
from bebr.store.database import Database

T = TypeVar("T")


class ServedCollection:
    """One collection being served."""

    def __init__(self, collection: Collection, readers: Executor, writers: Executor) -> None:
        self.collection = collection
        self.batcher = Batcher(self.search, readers)
        self._writers = writers
        self._write_queue = asyncio.Lock()

    def search(self, vectors: Floats, key: Key, allow: Ids | None = None) -> Hits:
        return self.collection.search(
            vectors,
            key.k,
            query=key.query,
            oversampling=key.oversampling,
            exact=key.exact,
            allow=allow,
            binarizer=key.model,
        )

    async def write(self, work: Callable[[], T]) -> T:
        """Runs ``work`` in a thread, one at a time per collection: a crowd of writers to one collection takes one
        thread, not all. A call cancelled while it waits is never begun; one that has begun is finished."""
        async with self._write_queue:
            return await asyncio.get_running_loop().run_in_executor(self._writers, work)


class CollectionRegistry:
    """Every collection being served, opened on first use. Belongs to one event loop."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._served: dict[str, ServedCollection] = {}
        self._models: dict[str, Binarizer] = {}  # those that queries named, by digest
        self._readers = ThreadPoolExecutor(max(4, os.cpu_count() or 1), "bebr-read")
        self._writers = ThreadPoolExecutor(4, "bebr-write")

    async def read(self, work: Callable[[], T]) -> T:
        """Runs ``work``, which may block, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def served(self, name: str) -> ServedCollection:
        """A collection, opened if need be. ``KeyError`` if there is none, ``CorruptFile`` if it cannot be read."""
        served = self._served.get(name)
        if served is None or served.collection.closed:  # dropped, and perhaps created anew
            collection = await self.read(lambda: self.db.collection(name))
            served = self._served.get(name)  # another call may have come first
            if served is None or served.collection is not collection:
                served = self._served[name] = ServedCollection(collection, self._readers, self._writers)
        return served

    async def query_model(self, served: ServedCollection, digest: str) -> Binarizer | None:
        """The model ``digest`` of queries to a collection; None where it is the collection's own. ``IncompatibleModel``
        if it is not registered; whether it was trained compatible, the search finds out."""
        own = served.collection.binarizer.digest
        if digest == own:
            return None
        if digest not in self._models:
            try:
                model = await self.read(lambda: self.db.model(digest))
            except KeyError as error:
                raise IncompatibleModel(
                    f"the queries are for model {digest}, which is not registered; collection "
                    f"{served.collection.name!r} has model {own}: embed the queries with the producer of that "
                    "model, or register one that was trained compatible with it"
                ) from error
            self._models.setdefault(digest, model)  # another call may have come first
        return self._models[digest]

    def close(self) -> None:
        """Waits for the work in progress."""
        self._readers.shutdown(cancel_futures=True)
        self._writers.shutdown(cancel_futures=True)
