"""Group commit: writes that come together share one transaction and one fsync.

One thread per database writes. It takes all writes that wait, drafts the snapshots that follow from them, commits them
in one transaction, and only then shows the snapshots. So memory holds what was committed, whatever fails when.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast

from bebr.store.catalog.protocol import Catalog
from bebr.store.catalog.records import Operation
from bebr.store.files.opener import Opener
from bebr.store.snapshots.draft import Draft
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.workers.ending import Ending
from bebr.store.writes.change import AnyChange, InsertChange, joined

T = TypeVar("T")

# A transaction takes no further write once it has so many bytes, or writes.
_MOST_BYTES = 32 << 20
_MOST_WRITES = 1024
# Writers whose commit is done mostly write again. So long, in seconds, the next commit waits for one more of them.
_MOMENT = 0.001


class Target(Protocol):
    """A collection, as the writing thread sees it."""

    @property
    def number(self) -> int: ...

    def followed(self, change: AnyChange) -> Sequence[tuple[Target, AnyChange]]:
        """What is to be written in the same commit, once this change is drafted, to others that go with it."""

    def draft(self) -> Draft:
        """The next snapshot; an error if the collection takes no writes."""

    def give_up(self) -> None:
        """The draft will not be published."""

    def publish(self, snapshot: Snapshot, rows: int) -> None:
        """Shows what was drafted and committed, a change of so many rows. Does not fail."""


@dataclass(eq=False)
class _Write:
    """`done` gets the number of rows written or removed once they are on disk and every search sees them."""

    target: Target
    change: AnyChange
    rows: int = 0
    done: Future[int] = field(default_factory=Future)


@dataclass(eq=False)
class _Task:
    """Work that must not run beside a write."""

    work: Callable[[], Any]
    done: Future[Any] = field(default_factory=Future)


class Writer:
    """Does all writes to a catalog, in the order of their submission."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog, self._opener = catalog, Opener()
        self._waiting: deque[_Write | _Task] = deque()
        self._lock = threading.Lock()  # over _waiting, _busy and _expected
        self._busy = False
        self._expected = 0
        self._all_here = threading.Condition(self._lock)  # as many wait as were expected
        # An idle thread of a pool ends with the program, even where nobody closes the database.
        self._thread = ThreadPoolExecutor(1, "bebr-write")

    def submit(self, target: Target, change: AnyChange) -> Future[int]:
        """Of the result: rows written or removed. May be cancelled until the write is begun."""
        write = _Write(target, change)
        self._enqueue(write)
        return write.done

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, called in the writing thread between transactions. It has ended, or will never begin,
        when this returns or raises."""
        task = _Task(work)
        self._enqueue(task)
        try:
            result: T = task.done.result()
        except BaseException:
            if not task.done.cancel():  # Ctrl-C while it runs
                wait([task.done])
            raise
        return result

    def within(self, target: Target, change: AnyChange) -> int:
        """Does a write at once, for work that `run` calls; returns rows written or removed."""
        write = _Write(target, change)
        self._commit([write])
        return write.done.result()

    def close(self) -> None:
        """Waits for everything that was submitted."""
        self._thread.shutdown()

    def _enqueue(self, item: _Write | _Task) -> None:
        self._opener.check()
        with self._lock:
            self._waiting.append(item)
            if self._busy:
                if len(self._waiting) == self._expected:
                    self._all_here.notify()
                return
            try:
                self._thread.submit(self._drain)
            except RuntimeError:  # it was shut down
                self._waiting.remove(item)
                raise Ending("nothing is written any more: the database is closed, or the program is ending") from None
            self._busy = True

    def _drain(self) -> None:
        while items := self._next():
            try:
                if isinstance(items[0], _Task):
                    items[0].done.set_result(items[0].work())
                else:
                    self._commit(cast("list[_Write]", items))
            except BaseException as error:
                for item in items:
                    if not item.done.done():  # whatever happened, nobody waits for ever
                        item.done.set_exception(error)
            self._gather(len(items))

    def _gather(self, last: int) -> None:
        """Waits while writes come, up to as many as the last commit had. Without it, the first of many writers has a
        commit to itself, and every other commit is nearly empty. A writer that is alone is not held up."""
        seen = -1
        with self._lock:
            self._expected = last
            while last > 1 and seen < len(self._waiting) < last:
                seen = len(self._waiting)
                self._all_here.wait(_MOMENT)

    def _next(self) -> list[_Write | _Task]:
        """The first task that waits, or the writes before it."""
        items: list[_Write | _Task] = []
        size = 0
        with self._lock:
            while self._waiting and size < _MOST_BYTES and len(items) < _MOST_WRITES:
                task = isinstance(self._waiting[0], _Task)
                if task and items:
                    break
                item = self._waiting.popleft()
                if item.done.set_running_or_notify_cancel():
                    items.append(item)
                    size += _MOST_BYTES if isinstance(item, _Task) else item.change.size
            self._busy = bool(items)
        return items

    def _commit(self, writes: Sequence[_Write]) -> None:
        targets: dict[Target, list[_Write]] = {}
        try:
            for write in writes:
                targets.setdefault(write.target, []).append(write)
                for other, change in write.target.followed(write.change):
                    targets.setdefault(other, []).append(_Write(other, change))
            # Whatever needs memory comes before the commit.
            drafted = [(target, *_draft(target, some)) for target, some in targets.items()]
            operations = [(target, operation) for target, _, made in drafted for operation in made]
            numbered = [(target.number, operation) for target, operation in operations]
            versions = self._catalog.commit(numbered) if numbered else []
        except BaseException as error:
            for target in targets:
                target.give_up()
            if len(writes) == 1:
                writes[0].done.set_exception(error)
            else:  # the fault of one is not to fail the others
                for write in writes:
                    self._commit([write])
            return
        latest = {target: version for (target, _), version in zip(operations, versions, strict=True)}
        for target, snapshot, _ in reversed(drafted):  # what goes with a collection shows once the collection does
            rows = sum(write.rows for write in targets[target]) if target in latest else 0
            target.publish(replace(snapshot, version=latest.get(target, snapshot.version)), rows)
        for write in writes:
            fault = write.change.fault if isinstance(write.change, InsertChange) else None
            if fault is None:
                write.done.set_result(write.rows)
            else:
                write.done.set_exception(fault)


def _draft(target: Target, writes: Sequence[_Write]) -> tuple[Snapshot, list[Operation]]:
    """What follows from the writes, their `rows` filled in: the snapshot, and the operations for the journal."""
    draft = target.draft()
    operations = []
    begin = 0
    for change, count in joined([write.change for write in writes]):
        operation = change.apply(draft)
        if operation is not None:
            operations.append(operation)
        for write in writes[begin : begin + count]:
            write.rows = write.change.rows(operation)
        begin += count
    return draft.finish(), operations
