"""Sealing and merging in the background: which parts become one file, and the thread that does it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

_log = logging.getLogger("bebr.store")

# A segment with more than this share of dead rows is rewritten at the next seal.
DEAD_SHARE = 0.25
# Segments larger than this are no longer merged for being small, so that a seal stays a matter of seconds.
MERGE_ROWS = 4_000_000

# Seconds after which a failed seal is tried again; twice as many after each further failure.
FIRST_RETRY, LAST_RETRY = 1.0, 60.0


def segments_to_rewrite(segments: Sequence[tuple[int, int]], tail: int) -> list[int]:
    """Which of `segments` (rows as written, rows still live) a seal of `tail` rows should take into the new file.

    Those with many dead rows; and, smallest first, those no larger than what is being written anyway: sizes then grow
    like a binary counter, so n rows are spread over about log2(n / tail) files and each row is copied about as many
    times.
    """
    chosen = [i for i, (rows, live) in enumerate(segments) if rows - live > DEAD_SHARE * rows]
    writing = tail + sum(segments[i][1] for i in chosen)
    for i in sorted(set(range(len(segments))) - set(chosen), key=lambda i: segments[i][1]):
        live = segments[i][1]
        if live > writing or live + writing > MERGE_ROWS:
            break
        chosen.append(i)
        writing += live
    return chosen


class Compactable(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def closed(self) -> bool: ...

    def compact(self, give_way: Callable[[], None]) -> None:
        """Seals and merges what there is. `give_way` is to be called between pieces of work, and may raise."""


class Stopped(Exception):
    """The database is being closed."""


class Compactor:
    """One thread per database. It works in pieces and rests as long as it worked, so that searches have the machine."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "bebr-compact")
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # over the rest
        self._wanted: set[Compactable] = set()
        self._failures: dict[Compactable, int] = {}  # in a row
        self._timers: dict[Compactable, threading.Timer] = {}
        self._worked_since = 0.0

    def request(self, collection: Compactable) -> None:
        """Has the collection compacted soon. Repeating it before that is harmless."""
        with self._lock:
            if collection not in self._wanted:
                self._submit(collection)

    def close(self) -> None:
        """Ends the work in progress at its next pause, and does no more."""
        with self._lock:
            self._stopping.set()
            for timer in self._timers.values():
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
        self._worked_since = time.monotonic()
        try:
            collection.compact(self._give_way)
        except Stopped:
            pass
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
                "collection %r: sealing failed, its rows stay in the journal; next try in %.0f s",
                collection.name,
                delay,
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
        self._stopping.wait(time.monotonic() - self._worked_since)
        if self._stopping.is_set():
            raise Stopped
        self._worked_since = time.monotonic()
