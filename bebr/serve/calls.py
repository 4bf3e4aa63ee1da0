"""What one call did: noted by those who work on it, told to metrics and logs when it has ended."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType

from bebr.collection.options import SearchOptions
from bebr.store.snapshots.snapshot import Snapshot

# The metadata that has a call's id: the caller's in the request, the same or one made here in the reply.
REQUEST_ID = "x-request-id"
# What a caller may say of a call in its metadata.
SAID = (REQUEST_ID, "traceparent", "tracestate")
# Upper bounds of the histograms of metrics. Seconds: twice and 2.5 times in turns, from less than a small search takes
# to a long write; queries of a kernel call.
SECONDS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
QUERIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Work:
    """What kernel calls did; a row counts once for each query. ``scanned``: rows whose codes were looked at, or their
    kept vectors alone; ``survivors``: those of them that a part of the code did not rule out, so that they were scored
    in full."""

    scanned: int = 0
    survivors: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.scanned + other.scanned, self.survivors + other.survivors)


@dataclass(slots=True)
class Search:
    """The search of a call: what was asked, and once it has run, of which rows; ``batch``: queries of its kernel call;
    ``work``: what that did."""

    options: SearchOptions
    queries: int
    batch: int = 0
    snapshot: Snapshot | None = None
    work: Work = Work()


@dataclass(slots=True)
class Call:
    """``method``: "Points/Search". ``request_id``: the caller's, or one made here. ``peer``: the caller's address, ""
    where it is not known. ``collection``: as the request names
    it, which may be no collection. ``code``: the name of a status. Times in nanoseconds: ``elapsed`` of all, ``queued``
    of waiting for a thread or a batch, ``searched`` of kernels and what belongs to them. ``trace``: what the caller
    said of the trace that it belongs to (traceparent, tracestate); ``traced``: whether it is to have a span, None where
    that is still to be decided. ``ended``: when, by `time.time_ns`; 0: now. ``counted``: metrics have it already."""

    method: str
    request_id: str = ""
    peer: str = ""
    collection: str = ""
    code: str = "OK"
    elapsed: int = 0
    queued: int = 0
    searched: int = 0
    search: Search | None = None
    trace: Mapping[str, str] = field(default_factory=dict)
    traced: bool | None = None
    ended: int = 0
    counted: bool = False


# What a caller may send as an id: a line of a log stays one line.
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)

_current: ContextVar[Call | None] = ContextVar("call", default=None)


def elapsed_us(start: int) -> int:
    """Microseconds since ``start``, a reading of ``time.perf_counter_ns``."""
    return (time.perf_counter_ns() - start) // 1000


def current_call() -> Call | None:
    """The call that the running task works for; None for work of the server's own."""
    return _current.get()


def note_queued(since: int, until: int) -> None:
    """The current call waited from one `time.perf_counter_ns` to another."""
    if (call := _current.get()) is not None:
        call.queued += until - since


def note_searched(since: int, until: int) -> None:
    """The current call was searched for from one `time.perf_counter_ns` to another."""
    if (call := _current.get()) is not None:
        call.searched += until - since


def note_search(options: SearchOptions, queries: int) -> None:
    """The current call is a search."""
    if (call := _current.get()) is not None:
        call.search = Search(options, queries)


def note_found(snapshot: Snapshot, batch: int, work: Work) -> None:
    """The search of the current call has run."""
    if (call := _current.get()) is not None and call.search is not None:
        call.search.snapshot, call.search.batch, call.search.work = snapshot, batch, work


class Calls:
    """Tells ``listeners`` of every call that has ended. A listener must be quick, and must not raise."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._run = os.urandom(4).hex()  # ids of two runs differ
        self.listeners: list[Callable[[Call], None]] = []
        self.unanswered = 0
        """Calls of gRPC whose replies it has not sent off."""

    def answered(self, context: object) -> None:
        """gRPC has sent a reply off, or nobody waits for it any more."""
        self.unanswered -= 1

    @contextmanager
    def noted(self, method: str, said: Mapping[str, str] = _NOTHING, peer: str = "") -> Iterator[Call]:
        """Around the work of a call, in a task of its own. ``said``: of SAID, what the caller did; an id is made in
        place of one that is no word of up to 128 characters. ``peer``: the caller's address."""
        request_id = said.get(REQUEST_ID, "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = f"{self._run}-{next(self._numbers)}"
        call = Call(method, request_id, peer, trace=said)
        _current.set(call)
        start = time.perf_counter_ns()
        try:
            yield call
        except BaseException:
            if call.code == "OK":  # not an error that was answered: the client cancelled it, or its time is over
                call.code = "CANCELLED"
            raise
        finally:
            call.elapsed = time.perf_counter_ns() - start
            self.tell(call)

    def tell(self, call: Call) -> None:
        """A call has ended."""
        before = _current.set(call)  # lines of the log have its id, though another task may have answered it
        try:
            for listener in self.listeners:
                listener(call)
        finally:
            _current.reset(before)
