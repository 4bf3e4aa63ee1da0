"""Sealing and merging in the background: which files become one, and the threads that do it."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Protocol

from bebr import core
from bebr.collection.protocol import DatabaseLocked
from bebr.store.workers.ending import Ending

_log = logging.getLogger("bebr.store")

# A segment with more than this share of dead rows is rewritten.
DEAD_SHARE = 0.25
# Seconds without a write after which files are merged that are less alike: searches look into each.
CALM = 5.0
# In a file that a merge makes, the largest one it was made of has at most so many times the rows of the others: while
# writes come, and once they do not.
RATIO, CALM_RATIO = 1, 4
# While rows come so fast that two seals lie within so many seconds, a merge makes no file of more rows than these, or
# than such a share of all. A merge that doubles a file takes as long as all before it did, and rows that come meanwhile
# stand in flat files, which every search scans (docs/experiments/segment-kinds.md).
LOAD_SECONDS, LOAD_ROWS, LOAD_SHARE = 20.0, 1 << 19, 1 / 16
# Seconds after which work that failed is tried again; twice as many after each further failure.
FIRST_RETRY, LAST_RETRY = 1.0, 60.0


def segments_to_merge(segments: Sequence[tuple[int, int]], most: int, ratio: int = RATIO) -> list[int]:
    """Which of `segments` (rows as written, rows still live) are to become one of at most `most` rows, as numbers; none
    where all is well.

    The smallest ones, as many as can be while the largest of them has at most `ratio` times the rows of the others
    together. So a row that is rewritten is in a file of twice the rows after it, or of 5/4 where the ratio is 4: n rows
    sealed by t are each written 1 + log2(n / t) times at most, or 1 + log(n / t) / log(5 / 4), and lie in as many
    files, of which each is larger than all smaller ones together. Beside these, segments with many dead rows, which the
    deletes pay for.
    """
    order = sorted(range(len(segments)), key=lambda i: segments[i][1])
    sums = [0, *accumulate(segments[i][1] for i in order)]
    count = max(
        (n for n in range(2, len(order) + 1) if segments[order[n - 1]][1] <= ratio * sums[n - 1] and sums[n] <= most),
        default=0,
    )
    chosen = order[:count]
    writing = sums[count]
    for i in order[count:]:
        rows, live = segments[i]
        if rows - live > DEAD_SHARE * rows and (not chosen or writing + live <= most):
            chosen.append(i)
            writing += live
    return chosen


class Compactable(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def closed(self) -> bool: ...

    def seal(self, give_way: Callable[[], None]) -> None:
        """Writes the rows in memory to a file. `give_way` is to be called between pieces of work, and may raise."""

    def merge(self, give_way: Callable[[], None]) -> None:
        """Makes one of some files, where that is due."""


class Stopped(Exception):
    """The database is being closed."""


class Compactor:
    """A thread of a database that does one kind of `work`: `Compactable.seal` or `merge`. It works in pieces, and where
    somebody searched or wrote meanwhile it rests as long as it worked, so that these have the machine. `costs`: what a
    failure comes to. `background`: other threads go before it where processors are short."""

    def __init__(
        self,
        name: str,
        work: Callable[[Compactable, Callable[[], None]], None],
        costs: str,
        background: bool = False,
    ) -> None:
        self._work, self._costs = work, costs
        self._thread = ThreadPoolExecutor(1, f"bebr-{name}", core.enter_background if background else None)
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # over the rest
        self._wanted: set[Compactable] = set()
        self._failures: dict[Compactable, int] = {}  # in a row
        self._timers: dict[Compactable, threading.Timer] = {}
        self._later: dict[Compactable, float] = {}  # when work is to be requested, by the monotonic clock
        self._alarm: threading.Timer | None = None  # for the first of these
        self._alarm_at = math.inf
        self._worked_since = 0.0
        self._calls = 0  # of others, as of then

    def request(self, collection: Compactable) -> None:
        """Has the work done for the collection soon. Repeating it before that is harmless."""
        with self._lock:
            if collection not in self._wanted:
                self._submit(collection)

    def request_in(self, collection: Compactable, seconds: float) -> None:
        """The same once so many seconds have passed; of several such requests the first counts."""
        with self._lock:
            due = time.monotonic() + seconds
            self._later[collection] = min(due, self._later.get(collection, due))
            self._set_alarm()

    def _set_alarm(self) -> None:
        first = min(self._later.values(), default=math.inf)
        if first < self._alarm_at and not self._stopping.is_set():
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = first
            self._alarm = threading.Timer(max(0.0, first - time.monotonic()), self._request_due)
            self._alarm.daemon = True
            self._alarm.start()

    def _request_due(self) -> None:
        with self._lock:
            self._alarm_at = math.inf
            now = time.monotonic()
            for collection in [one for one, due in self._later.items() if due <= now]:
                del self._later[collection]
                if collection not in self._wanted:
                    self._submit(collection)
            self._set_alarm()

    def close(self) -> None:
        """Ends the work in progress at its next pause, and does no more."""
        with self._lock:
            self._stopping.set()
            for timer in (*self._timers.values(), *([] if self._alarm is None else [self._alarm])):
                timer.cancel()
        self._thread.shutdown(cancel_futures=True)

    def _submit(self, collection: Compactable) -> None:
        if not self._stopping.is_set():
            self._wanted.add(collection)
            with contextlib.suppress(RuntimeError):  # the program is ending: the next one seals
                self._thread.submit(self._run, collection)

    def _run(self, collection: Compactable) -> None:
        with self._lock:
            self._wanted.discard(collection)
        self._begin_piece()
        try:
            self._work(collection, self._give_way)
        except (Stopped, Ending):  # a program that ends without close(): the next one seals and merges
            pass
        except DatabaseLocked as error:  # another process writes the collection by now
            _log.warning("collection %r: its background work ends here: %s", collection.name, error)
        except Exception:
            if not collection.closed:
                self._retry(collection)
        else:
            self._failures.pop(collection, None)

    def _retry(self, collection: Compactable) -> None:
        with self._lock:
            failures = self._failures.get(collection, 0)
            delay = min(FIRST_RETRY * 2**failures, LAST_RETRY)
            _log.exception(
                "collection %r: %s; next try in %.0f s",
                *(collection.name, self._costs, delay),
            )
            self._failures[collection] = failures + 1
            self._wanted.add(collection)  # until then, no request counts
            self._timers[collection] = timer = threading.Timer(delay, self._try_again, [collection])
            timer.daemon = True
            timer.start()

    def _try_again(self, collection: Compactable) -> None:
        with self._lock:
            self._timers.pop(collection, None)
            self._submit(collection)

    def _give_way(self) -> None:
        if core.foreground_calls() != self._calls:
            self._stopping.wait(time.monotonic() - self._worked_since)
        if self._stopping.is_set():
            raise Stopped
        self._begin_piece()

    def _begin_piece(self) -> None:
        self._worked_since, self._calls = time.monotonic(), core.foreground_calls()
