"""The native front of a server (csrc/server): it owns the port, answers searches that it understands as a whole, and
forwards every other call to the gRPC server behind it, at a socket in a folder that only this user may enter."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bebr import core
from bebr.binarizer.codes import Query
from bebr.collection.filter_form import filter_of_text
from bebr.collection.filter_tree import Filter
from bebr.collection.options import SearchOptions
from bebr.collection.protocol import BatchingStats
from bebr.serve.access import NO_KEY, WRONG_KEY, not_granted
from bebr.serve.batching import MAX_BATCH
from bebr.serve.calls import QUERIES, SECONDS, Call, Calls, Search, Work
from bebr.serve.keys import Key, KeyFile, Stamp
from bebr.serve.limits import Limits
from bebr.serve.peers import TurnedAway
from bebr.serve.routing import Route
from bebr.serve.tls import Tls
from bebr.serve.told import CODES, Counted, Figures, Finished
from bebr.serve.tracing import Sampling
from bebr.store.collection import Collection
from bebr.store.snapshots.matching import MOST_KEPT
from bebr.store.snapshots.plans import Grouped
from bebr.store.snapshots.snapshot import Snapshot

_log = logging.getLogger("bebr.serve")

# A path of a Unix socket has at most 107 bytes.
_MOST_PATH = 100
_MOST_LOOPS = 4
# Characters of a filter that is looked at here.
_MOST_TEXT = 4096
# Seconds from the first search that there is to tell of until it is told, with those that ended meanwhile: to wake
# Python for each would hold the next ones up. And of how many it is kept.
_TELL_PAUSE, _MOST_FINISHED = 0.05, 100_000
_WITHOUT = "this bebr was built without {0} (apt-get install {0}-dev pkg-config, then build it again)"


def loaded() -> tuple[Any, str]:
    """The extension, and why there is none where it is None."""
    try:
        return importlib.import_module("bebr._front"), ""
    except ModuleNotFoundError:
        return None, _WITHOUT.format("libnghttp2")
    except ImportError as error:  # a wheel takes OpenSSL 3 from the system, which may have none
        return None, f"the front cannot be loaded: {error}"


def make_front(
    limits: Limits, budget: core.ByteBudget, coalesce: bool, tls: Tls | None, keys: KeyFile | None, sampling: Sampling
) -> Front | None:
    """None, said in one line of the log, where there is none. ``keys``: who may call; None for anybody. ``sampling``:
    of which calls `Front.tell` tells in any case, since they are to have a span."""
    extension, reason = loaded()
    if extension is not None and tls and not extension.tls:
        reason = _WITHOUT.format("libssl")
    if reason:
        _log.warning("Python answers every call: %s", reason)
        return None
    return Front(extension, limits, budget, coalesce, tls, keys, sampling)


class Front:
    """Made before the server behind it, started after it. `show` may be called from any thread. `asked`: told of
    calls of leaves: whose, their ns, and whether they were answered, or another one was faster; `stale`: of a
    collection that is to be shown another route."""

    def __init__(
        self,
        extension: Any,
        limits: Limits,
        budget: core.ByteBudget,
        coalesce: bool,
        tls: Tls | None,
        keys: KeyFile | None,
        sampling: Sampling,
    ) -> None:
        self._keys, self._sampling = keys, sampling
        self._extension, self._limits, self._budget, self._tls = extension, limits, budget, tls
        self._batch = MAX_BATCH if coalesce else 1
        self._folder = _private_folder()
        self._front: Any = None
        self._counting = self._recording = False
        self._shown: dict[str, Collection] = {}
        self.asked: Callable[[list[tuple[str, int, bool]]], None] = lambda calls: None
        self.stale: Callable[[str], None] = lambda collection: None
        self._aliases: Mapping[str, str] = {}

    @property
    def upstream(self) -> str:
        """Where the server behind it is to listen."""
        return str(self._folder / "grpc.sock")

    def start(self, host: str, port: int, shared: bool = False) -> int:
        """Listens; the port. ``shared``: others may have it, too. ``OSError`` if the address cannot be used;
        ``ValueError`` for a file of TLS."""
        cores = len(os.sched_getaffinity(0))
        tls = self._tls
        front = self._extension.Front(
            host=host,
            port=port,
            upstream=self.upstream,
            budget=self._budget,
            loops=min(_MOST_LOOPS, cores),
            threads=max(2, cores),
            most_batch=self._batch,
            queries=self._limits.queries,
            k=self._limits.k,
            answers=self._limits.answers,
            ids=self._limits.ids,
            calls=self._limits.calls,
            reply_bytes=self._limits.reply_bytes,
            certificate=str(tls.certificate) if tls else "",
            key=str(tls.key) if tls else "",
            client_ca=str(tls.client_ca) if tls and tls.client_ca else "",
            seconds=SECONDS,
            batches=QUERIES,
            shared=shared,
        )
        front.set_open(self._keys is None)
        sampling = self._sampling
        front.set_sampling(sampling.roots, sampling.recorded, sampling.unrecorded)
        front.set_aliases(self._aliases)
        if self._counting:
            front.count()
        bound = int(front.start())
        self._front = front
        self.record(self._recording)
        if self._keys is not None:
            self._keys.watch(self._tell_keys)
        return bound

    def _tell_keys(self, stamp: Stamp, keys: tuple[Key, ...]) -> None:
        """As long as the file has this stamp, callers are looked at without Python: every role may search."""
        assert self._keys is not None
        told = [(bytes.fromhex(key.sha256), key.collections, not_granted(key, "{}")) for key in keys]
        self._front.set_keys(str(self._keys.path), stamp, told, NO_KEY, WRONG_KEY)

    def show_aliases(self, aliases: Mapping[str, str]) -> None:
        """Has searches by these answered as those by the names of their collections are."""
        self._aliases = aliases
        if self._front is not None:
            self._front.set_aliases(aliases)

    def show(self, collection: Collection) -> None:
        """Has searches of a collection answered from what it holds now and after every write, as far as they are of
        one model."""

        def publish() -> None:
            try:
                self._publish(collection)
            except Exception:  # a write that is done does not fail for it
                _log.exception("searches of %r are not answered in C++", collection.name)
                self._front.publish(collection.name, "", None)

        self._shown[collection.name] = collection
        collection.watch(publish)

    def _publish(self, collection: Collection) -> None:
        engine, model = None, ""
        if not collection.closed:
            snapshot = collection.snapshot
            model = snapshot.bz.digest
            if snapshot.engine is not None and snapshot.by_model[0][0].digest == model:
                engine = snapshot.engine
        self._front.publish(collection.name, model, engine)

    def show_filter(self, name: str, snapshot: Snapshot, text: str, filter: Filter) -> None:
        """Has searches of a snapshot with this filter, which was just searched for, answered in C++, as far as Python
        has settled what they read. text: the filter as callers write it; another text of the same is another filter
        here. Of as many as the snapshot keeps itself; the next write ends it for all. In the loop of the server."""
        self._show(name, snapshot, text, filter)

    def show_groups(self, name: str, snapshot: Snapshot, text: str, groups: Grouped) -> None:
        """The same of searches in groups; text "" where they are of all rows."""
        self._show(name, snapshot, f"{text}\0{groups[1]}", groups)

    def _show(self, name: str, snapshot: Snapshot, key: str, what: Filter | Grouped) -> None:
        if snapshot.engine is None or len(key) > _MOST_TEXT:
            return
        shown = snapshot.plans.shown
        gone = [known for known, of in shown.items() if _settled(snapshot, of) is None]
        if key not in shown:
            gone += list(shown)[: max(0, len(shown) - len(gone) + 1 - MOST_KEPT)]
        for known in gone:
            shown.pop(known, None)
            self._front.publish_filter(name, snapshot.engine, known, None)
        rows = None if key in shown else _settled(snapshot, what)
        if rows is not None and self._front.publish_filter(name, snapshot.engine, key, rows):
            shown[key] = what

    @property
    def state(self) -> int:
        """Another number after every change to what there is and what is shown of it."""
        return 0 if self._front is None else int(self._front.state())

    def keep_listing(self, state: int, request: bytes, reply: bytes) -> None:
        """Has this request to list collections answered in C++ as it was just answered here, until anything changes;
        state: `state` before the reply was made, for it may be old already."""
        if self._front is not None:
            self._front.keep_listing(state, request, reply)

    def show_route(self, collection: str, route: Route, renew: int, until: int) -> None:
        """Has searches of a collection in shards answered by leaves without Python. From ``renew`` on, in ns of the
        monotonic clock, `stale` is told once; from ``until`` on its searches come to Python."""
        if self._front is not None:
            self._front.set_route(collection, route, renew, until)

    def end_route(self, collection: str) -> None:
        """Its searches come to Python."""
        if self._front is not None:
            self._front.end_route(collection)

    def set_delay(self, ns: int) -> None:
        """After which another leaf is asked beside one that has not answered."""
        if self._front is not None:
            self._front.set_delay(ns)

    @property
    def second_tries(self) -> int:
        """Shards for which another leaf was asked beside the first."""
        return 0 if self._front is None else int(self._front.counts()["second_tries"])

    def batching(self, collection: str) -> BatchingStats:
        """What joining searches of a collection did here."""
        return BatchingStats(*self._front.batching(collection))

    def work(self, collection: str) -> Work:
        """What searches of a collection did that were answered here."""
        return Work(*self._front.work(collection))

    def forget(self, collection: str) -> None:
        """It was dropped: what was counted of it is gone, and so are its rows in memory."""
        shown = self._shown.get(collection)
        if shown is not None and shown.closed:  # not one that was made since
            del self._shown[collection]
        if self._front is not None:
            self._front.forget(collection)

    def count(self) -> None:
        """Counts searches from now on, for metrics."""
        self._counting = True
        if self._front is not None:
            self._front.count()

    def counted(self) -> list[Counted]:
        """Of each collection that was searched since. From any thread."""
        if self._front is None:
            return []
        return [Counted(name, codes, *map(Figures._make, four)) for name, codes, *four in self._front.counted()]

    def counts(self) -> dict[str, int]:
        """Calls so far: answered here, forwarded to Python, and denied for want of a right key."""
        counts = self._front.counts()
        return {outcome: counts[outcome] for outcome in ("answered", "forwarded", "denied")}

    def record(self, wanted: bool) -> None:
        """Whether `tell` is to tell of every search from now on."""
        self._recording = wanted
        if self._front is not None:
            self._front.record(_MOST_FINISHED if wanted else 0)

    async def tell(self, calls: Calls, turned_away: TurnedAway) -> None:
        """Tells of searches that were answered here, as long as somebody wants to know, of those that are to have a
        span in any case, and of callers without a right key, until it is cancelled. It sleeps while there are none."""
        loop, news, file = asyncio.get_running_loop(), asyncio.Event(), self._front.news

        def heard() -> None:
            os.read(file, 8)
            news.set()

        loop.add_reader(file, heard)
        try:
            while True:
                await news.wait()
                await asyncio.sleep(_TELL_PAUSE)
                news.clear()  # first: what ends from here on is news again
                self.tell_finished(calls, turned_away)
        finally:
            loop.remove_reader(file)

    def tell_finished(self, calls: Calls, turned_away: TurnedAway) -> None:
        """Of those since the last time."""
        if self._front is None:
            return
        for peer, method in self._front.take_denied():
            turned_away.note(peer, method)
        self.tell_asked()
        for collection in self._front.take_stale():
            self.stale(collection)
        now, ticks = time.time_ns(), time.monotonic_ns()  # the front's clock is the second
        for one in map(Finished._make, self._front.take_finished()):
            search = self._search(one) if one.queries else None  # one that was refused is none
            trace = {"traceparent": one.traceparent} if one.traceparent else {}
            if one.tracestate:
                trace["tracestate"] = one.tracestate
            ended = now - (ticks - one.ended)
            call = Call("Points/Search", one.request_id, one.peer, one.collection, CODES[one.code], one.elapsed)
            call.queued, call.searched, call.search = one.queued, one.searched, search
            call.trace, call.traced, call.ended, call.counted = trace, one.traced, ended, self._counting
            calls.tell(call)

    def tell_asked(self) -> None:
        """Has `asked` told of calls of leaves since the last time."""
        if self._front is not None and (calls := self._front.take_asked()):
            self.asked(calls)

    def _search(self, one: Finished) -> Search:
        collection = self._shown.get(self._aliases.get(one.collection, one.collection))
        snapshot = None if collection is None or collection.closed else collection.snapshot
        work = Work(one.scanned, one.survivors)
        return Search(_options(one.asked, one.filter), one.queries, one.batch, snapshot, work)

    async def drain(self, grace: float) -> None:
        """Takes no more calls, and waits for those in progress, up to ``grace`` seconds."""
        if self._front is not None:
            await asyncio.to_thread(self._front.drain, grace)

    async def stop(self) -> None:
        if self._front is not None:
            await asyncio.to_thread(self._front.stop)
        shutil.rmtree(self._folder, ignore_errors=True)


def _settled(snapshot: Snapshot, what: Filter | Grouped) -> core.CodeSearcher | None:
    """What answers in C++ as Python does, however many queries."""
    if isinstance(what, tuple):
        return snapshot.plans.groups(what)
    return snapshot.filtered(what, few=True) or snapshot.filtered(what, few=False)


@lru_cache(256)
def _filter(text: str) -> Filter:
    return filter_of_text(text)


@lru_cache(256)
def _options(asked: tuple[Any, ...], text: str | None) -> SearchOptions:
    """Kept, for most searches ask for the same, and to make one takes longer than all else that is done here."""
    k, coded, oversampling, exact, radius, rescore, nprobe, ef_search = asked
    query: Query = "code" if coded else "float"
    about = k, query, oversampling, exact, radius, rescore
    return SearchOptions(*about, filter=None if text is None else _filter(text), nprobe=nprobe, ef_search=ef_search)


def _private_folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="bebr-"))  # of mode 0700
    if len(os.fsencode(made)) > _MOST_PATH:
        made.rmdir()
        made = Path(tempfile.mkdtemp(prefix="bebr-", dir="/tmp"))
    return made
