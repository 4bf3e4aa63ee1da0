"""Which collections a server serves, and in which threads their work is done."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from bebr.arrays import Floats
from bebr.binarizer import Binarizer
from bebr.collection.filter_tree import Filter
from bebr.collection.keys import Named
from bebr.collection.options import Groups, SearchOptions
from bebr.collection.protocol import BatchingStats
from bebr.core import StopFlag
from bebr.errors import CorruptFile, Error, IncompatibleModel
from bebr.serve.batching import Batcher, Found
from bebr.serve.budgets import Budgets, Most
from bebr.serve.calls import Work, note_searched
from bebr.serve.front import Front
from bebr.serve.query_models import QueryModels
from bebr.serve.queues import FairQueue, ended
from bebr.store.collection import Collection
from bebr.store.database import Database
from bebr.store.snapshots.snapshot import Snapshot

T = TypeVar("T")

_log = logging.getLogger("bebr.serve")

_READERS = max(4, os.cpu_count() or 1)
# A thread of these mostly waits for the disk; those of one collection share their commits.
_WRITERS, _WRITERS_EACH = 64, 16
# Seconds for which a collection that could not be opened is not tried again.
_RETRY_AFTER = 5.0


# Seconds between two looks for collections that other processes have made.
_LOOK = 1.0


class Taken(Protocol):
    """Which collections a server serves. `texts`: as its starter wrote it, empty for all."""

    @property
    def texts(self) -> tuple[str, ...]: ...

    def __call__(self, name: str) -> bool: ...


class _All:
    texts = ()

    def __call__(self, name: str) -> bool:
        return True


ALL: Taken = _All()


class Threads:
    """The threads of a server, in kinds, so that nothing waits for work that takes longer: coalesced searches, other
    searches, reads of payloads, models and figures, writes, and the opening of collections. Searches go before writes,
    whose threads code rows (docs/experiments/searches-beside-loads.md)."""

    def __init__(self) -> None:
        self.batches = ThreadPoolExecutor(_READERS, "bebr-batch")
        self.searches = FairQueue(_READERS, _READERS // 2, "bebr-search")
        self.reads = FairQueue(_READERS, _READERS // 2, "bebr-read")
        self.writes = FairQueue(_WRITERS, _WRITERS_EACH, "bebr-write", background=True)
        self.opening = FairQueue(_READERS, 1, "bebr-open")

    def waiting(self) -> dict[str, int]:
        """Jobs that wait for a thread. From any thread."""
        return {kind: getattr(self, kind).waiting for kind in ("searches", "reads", "writes", "opening")}

    async def close(self) -> None:
        """Waits for the work in progress."""
        for queue in (self.searches, self.reads, self.writes, self.opening):
            await queue.close()
        await asyncio.to_thread(self.batches.shutdown)


class ServedCollection:
    """One collection being served."""

    def __init__(self, collection: Collection, threads: Threads, front: Front | None) -> None:
        self._front = front
        self.collection = collection
        self.batcher = Batcher(self._search, threads.batches)
        self._alone = Work()  # of searches that were not coalesced
        self._threads = threads

    @property
    def batching(self) -> BatchingStats:
        """What joining searches did, the front's included."""
        stats = self.batcher.stats
        return stats if self._front is None else stats.beside(self._front.batching(self.collection.name))

    @property
    def work(self) -> Work:
        """What searches did, the front's included."""
        work = self.batcher.work + self._alone
        return work if self._front is None else work + self._front.work(self.collection.name)

    def _search(
        self,
        queries: Floats | Named | None,
        options: SearchOptions,
        stop: StopFlag,
        allow: Named | None = None,
        groups: Groups | None = None,
        texts: Sequence[str] = (),
    ) -> Found:
        found = self._found(queries, options, stop, allow, groups, texts)
        return replace(found, work=Work(stop.scanned, stop.survivors))

    def _found(
        self,
        queries: Floats | Named | None,
        options: SearchOptions,
        stop: StopFlag,
        allow: Named | None,
        groups: Groups | None,
        texts: Sequence[str],
    ) -> Found:
        snapshot = self.collection.snapshot
        if queries is None or (texts and not isinstance(queries, Named)):
            return Found(self.collection.search_text(snapshot, queries, texts, options, allow, stop), snapshot)
        if groups is not None:
            hits, values = self.collection.search_groups(snapshot, queries, groups, options, allow, stop)
            return Found(hits, snapshot, values)
        return Found(self.collection.search_snapshot(snapshot, queries, options, allow, stop), snapshot)

    def matched(self, filter: Filter | None) -> Filter | None:
        """The filter, once the collection knows which of its rows match."""
        if filter is not None:
            self.collection.snapshot.matching(filter)
        return filter

    def show_filter(self, snapshot: Snapshot, text: str, filter: Filter) -> None:
        """A search of a snapshot with this filter, written so, was answered: the front may answer the next."""
        if self._front is not None:
            self._front.show_filter(self.collection.name, snapshot, text, filter)

    def show_groups(self, snapshot: Snapshot, text: str, filter: Filter | None, groups: Groups) -> None:
        """The same of a search in groups; of all rows where the filter is None, its text "" then."""
        if self._front is not None:
            self._front.show_groups(self.collection.name, snapshot, text, (filter, groups.by))

    async def search(
        self,
        queries: Floats | Named | None,
        options: SearchOptions,
        allow: Named | None,
        groups: Groups | None = None,
        texts: Sequence[str] = (),
    ) -> Found:
        """A search by itself, of no more queries (vectors, ids of rows, texts, or vectors beside texts) than one kernel
        call takes. Cancelling the call stops the kernel."""
        stop = StopFlag()

        def work() -> tuple[Found, int]:
            begun = time.perf_counter_ns()
            return self._search(queries, options, stop, allow, groups, texts), begun

        found, begun = await self._threads.searches.run(self.collection.name, work, stop.set)
        self._alone += found.work
        note_searched(begun, time.perf_counter_ns())
        return found

    async def read(self, work: Callable[[], T]) -> T:
        """Runs ``work``, which does not change the collection, in a thread."""
        return await self._threads.reads.run(self.collection.name, work)

    async def write(self, begin: Callable[[], Future[int]]) -> int:
        """Runs ``begin`` in a thread, and waits without one for what it began. A call cancelled before its write is
        begun is taken back; one that has begun is finished."""
        return await self.finish(await self.begin(begin))

    async def begin(self, begin: Callable[[], Future[int]]) -> Future[int]:
        """The first half of :meth:`write`."""
        return await self._threads.writes.run(self.collection.name, begin)

    @staticmethod
    async def finish(future: Future[int]) -> int:
        """The second half of :meth:`write`."""
        done = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not future.cancel():
                await ended(done)
            raise


class CollectionRegistry:
    """Every collection being served, opened on first use. Belongs to one event loop. ``report`` is told of every
    collection whether it works, and None once it is gone; ``front``: answers searches of them beside Python;
    ``taken``: which collections these are."""

    def __init__(
        self,
        db: Database,
        report: Callable[[str, bool | None], Awaitable[None]],
        front: Front | None = None,
        most: Most | None = None,
        taken: Taken = ALL,
    ) -> None:
        self.db, self.taken = db, taken
        self.budgets = Budgets(most or Most(), db.path, self._rows, lambda: len(db.collections()))
        self.front = front
        self._threads = Threads()
        self._report = report
        self._served: dict[str, ServedCollection] = {}
        self._opening: dict[str, asyncio.Task[ServedCollection]] = {}
        self._failed: dict[str, tuple[Exception, float]] = {}  # and when
        self._models = QueryModels()
        self.on_forget: list[Callable[[str], None]] = []  # told of collections that are gone
        if front is not None:
            db.watch_aliases(front.show_aliases)

    def _rows(self) -> int:
        return sum(len(served.collection) for served in self.all_served() if not served.collection.closed)

    def label(self, name: str) -> str:
        """The collection that a request names, by an alias or not; "" where none of that name is served."""
        name = self.db.resolved(name) if name else name
        return name if name in self._served else ""

    def all_served(self) -> list[ServedCollection]:
        """Those that are open. From any thread."""
        return list(self._served.values())

    def waiting(self) -> dict[str, int]:
        """How much work of each kind waits for a thread. From any thread."""
        waiting = self._threads.waiting()
        return {"batches": sum(served.batcher.waiting for served in self.all_served()), **waiting}

    async def read(self, work: Callable[[], T]) -> T:
        """Runs ``work``, which is of no one collection, in a thread."""
        return await self._threads.reads.run(None, work)

    async def write(self, name: str, work: Callable[[], T]) -> T:
        """Runs ``work``, which makes, flushes or drops the collection ``name``, in a thread."""
        return await self._threads.writes.run(name, work)

    def names(self) -> list[str]:
        """Of all that it serves, sorted, corrupt ones included."""
        return [name for name in self.db.collections() if self.taken(name)]

    def version(self, name: str) -> int:
        """Of a collection, as searches see it, and of vectors that are streamed to it; 0 where it is not open."""
        served = self._served.get(name)
        if served is None or served.collection.closed:
            return 0
        snapshot = served.collection.snapshot
        return snapshot.version + (0 if snapshot.successor is None else snapshot.successor.rows.version)

    async def served(self, name: str) -> ServedCollection:
        """A collection, or that of an alias, opened if need be. ``KeyError`` if there is none, ``CorruptFile`` if it
        cannot be read."""
        name = self.db.resolved(name)
        if not self.taken(name):
            raise KeyError(f"no collection {name!r} among those of this server ({', '.join(self.taken.texts)})")
        early = self._opening.get(name)
        try:
            return await self._joined(name)
        except KeyError:
            if early is None:
                raise
        return await self._joined(name)  # the other call had looked before this one, and it may have been made since

    async def _joined(self, name: str) -> ServedCollection:
        """It, opened once for all calls that wait for it."""
        served = self._served.get(name)
        if served is not None and not served.collection.closed:
            return served
        opening = self._opening.get(name)
        if opening is None:
            opening = self._opening[name] = asyncio.create_task(self._open(name))
            opening.add_done_callback(lambda done: self._opened(name, done))
        return await asyncio.shield(opening)

    async def _open(self, name: str) -> ServedCollection:
        before = self._served.pop(name, None)  # dropped, and perhaps created anew
        if name in self._failed:
            error, when = self._failed[name]
            if time.monotonic() < when + _RETRY_AFTER:
                raise type(error)(*error.args) from error
        try:
            collection = await self._threads.opening.run(name, lambda: self._found(name))
        except KeyError:
            if before is not None or name in self._failed:
                await self.forget(name)
            raise
        except Exception as error:
            known = isinstance(error, Error | OSError | MemoryError)
            if name not in self._failed:
                _log.error("collection %r cannot be served: %s", name, error, exc_info=None if known else error)
            found = error if known else CorruptFile(f"collection {name!r} cannot be opened: {error!r}")
            self._failed[name] = found, time.monotonic()
            await self._report(name, False)
            raise found from error
        self._failed.pop(name, None)
        served = self._served[name] = ServedCollection(collection, self._threads, self.front)
        await self._report(name, True)
        return served

    def _found(self, name: str) -> Collection:
        collection = self.db.collection(name)
        if self.front is not None:
            self.front.show(collection)
        return collection

    def _opened(self, name: str, done: asyncio.Task[Any]) -> None:
        del self._opening[name]
        if not done.cancelled():
            done.exception()  # the calls that waited for it may all be cancelled

    async def open_all(self) -> None:
        """Opens every collection, one after the other, so that damage is found before somebody asks; and where other
        processes make and drop some, goes on with these."""
        while True:
            for name in await self.read(self.names):
                try:
                    await self.served(name)
                except Exception:
                    continue  # logged; its own calls get the error
            if not self.db.shared:
                return
            for name in [name for name, served in self._served.items() if served.collection.closed]:
                await self.forget(name)
            await asyncio.sleep(_LOOK)

    async def forget(self, name: str) -> None:
        """The collection ``name`` is gone."""
        self._served.pop(name, None)
        self._failed.pop(name, None)
        if self.front is not None:
            self.front.forget(name)
        for tell in self.on_forget:
            tell(name)
        await self._report(name, None)

    async def query_model(self, served: ServedCollection, digest: str) -> Binarizer:
        """The model ``digest`` of queries to a collection. ``IncompatibleModel`` if it is not registered; whether it is
        the collection's own, or was trained compatible, the search finds out: a cutover may come before it."""
        own = served.collection.binarizer
        if digest == own.digest:
            return own
        model = self._models.get(digest)
        if model is None:
            try:
                model = self._models.keep(*await self.read(lambda: _sized(self.db.model(digest))))
            except KeyError as error:
                raise IncompatibleModel(
                    f"the queries are for model {digest}, which is not registered; collection "
                    f"{served.collection.name!r} has model {own.digest}: embed the queries with the producer of that "
                    "model, or register one that was trained compatible with it"
                ) from error
        return model

    async def close(self) -> None:
        """Waits for the work in progress."""
        for opening in list(self._opening.values()):
            opening.cancel()
        await self._threads.close()


def _sized(model: Binarizer) -> tuple[Binarizer, int]:
    return model, len(model.to_bytes())
