"""What another process wrote, brought into a collection that is open here: the writes since, or all of it anew."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from bebr.store.catalog.records import CollectionRow
from bebr.store.catalog.shared import SharedCatalog
from bebr.store.contents import Contents
from bebr.store.snapshots.draft import Draft
from bebr.store.writes.change import Change, joined
from bebr.store.writes.current import Current
from bebr.store.writes.state import State

_log = logging.getLogger("bebr.store")

_MOMENT = 0.25  # seconds that the end of a program may wait for a thread


@dataclass(frozen=True)
class News:
    """For a collection whose state is `of`, at the version `since`: the `changes` that make it that of `version`, or,
    where a seal, a merge or another model came between, `fresh` in its place."""

    of: State
    since: int
    version: int = 0
    changes: tuple[Change, ...] = ()
    fresh: State | None = None


def news_of(current: Current, row: CollectionRow) -> News:
    """What the catalog has of a collection since it was read. `row`: what the catalog says of it now. Not in the
    writing thread: it may fetch files."""
    state = current.state
    since = state.snapshot.version
    if row == state.row:
        with current.shared.catalog.contents(state.number, since) as (manifest, operations):
            if (manifest.sealed, manifest.segments) == (state.sealed, state.listed):
                changes = tuple(Change.of(operation, state.model(operation.model)) for operation in operations)
                return News(state, since, manifest.version, changes)
    return News(state, since, fresh=State(row, current.shared, state))


def take_news(current: Current, news: News) -> bool:
    """Shows them, in the writing thread; False where they are old by now."""
    state = current.state
    old = state is not news.of or state.snapshot.version != news.since
    if old or current.closed is not None or current.shared.owners.holds(state.number):
        return False
    if news.fresh is not None:
        current.replace(news.fresh)
        return True
    draft = Draft(state.snapshot, state.tail)
    for change, _ in joined(news.changes):
        change.apply(draft)
        state.unsealed += len(change.ids)
    current.show(replace(draft.finish(), version=news.version))
    return True


def _show(current: Current) -> None:
    """As it is, with what of a successor goes with it by now."""
    current.show(current.state.snapshot)


class Follower:
    """A thread that looks every so many `seconds` what other processes did to the collections that are open, and
    another one that renews the leases of this process, every `renewal` seconds. `dropped`: called with the name of a
    collection that is there no more; `tidy`: after each renewal.

    It asks, and is not told: a commit with NOTIFY takes a lock of the whole server, so that commits of all collections
    would wait for each other.
    """

    def __init__(
        self,
        catalog: SharedCatalog,
        opened: Callable[[], Mapping[str, Contents]],
        dropped: Callable[[str], None],
        seconds: float,
        renewal: float,
        tidy: Callable[[], None],
    ) -> None:
        self._catalog, self._opened, self._dropped, self._tidy = catalog, opened, dropped, tidy
        self._stopping = threading.Event()
        self._looking = threading.Lock()
        self._failing: set[str] = set()  # collections, of which that was told
        self._threads = [
            threading.Thread(target=self._every, args=(seconds, self.look), name="bebr-follow"),
            threading.Thread(target=self._every, args=(renewal, self._renew), name="bebr-lease"),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Waits for a look in progress."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        """Until it is closed, or the program ends: a daemon thread would end within the extension."""
        failing, due = False, time.monotonic() + seconds
        while not self._stopping.wait(min(seconds, _MOMENT)) and threading.main_thread().is_alive():
            if time.monotonic() < due:
                continue
            try:
                work()
                failing = False
            except Exception as error:
                if not failing:
                    _log.warning("PostgreSQL is not heard at the moment: %s", error)
                failing = True
            due = time.monotonic() + seconds

    def _renew(self) -> None:
        for number in self._catalog.renew():
            _log.warning("the lease of collection %d was lost: another process writes it", number)
        self._tidy()

    def look(self) -> None:
        """Once."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        self._catalog.refresh()
        there = set(self._catalog.collections(hidden=True))
        for name, contents in self._opened().items():
            if name not in there:
                self._dropped(name)
                continue
            try:
                current, heir = contents.current, contents.succession.heir
                self._follow(current)
                if heir is not None and heir.current.name in there and self._follow(heir.current, of=heir.number):
                    current.shared.writer.run(partial(_show, current))  # searches cover both
                self._failing.discard(name)
            except Exception as error:  # it shows what it has; others go on
                if name not in self._failing:
                    _log.warning("collection %r is not followed at the moment: %s", name, error)
                self._failing.add(name)

    def _follow(self, current: Current, of: int = 0) -> bool:
        """Whether there was something new. `of`: the number that it must have still: where a cutover came after the
        collection was looked at, a successor's name is that of the old rows."""
        state = current.state
        if self._catalog.holds(state.number) or current.closed is not None:
            return False
        row, version = self._catalog.collection(current.name), self._catalog.version(current.name)
        if of not in (0, row.id):
            return False
        if (row, version) != (state.row, state.snapshot.version):
            news = news_of(current, row)
            return current.shared.writer.run(lambda: take_news(current, news))
        return False
