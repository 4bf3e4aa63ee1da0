"""Seals and merges: one new file in the place of rows in memory, or of other files."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bebr.arrays import Ids
from bebr.store.columns.table import nothing
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap
from bebr.store.segments.building import Coding
from bebr.store.segments.calibrating import calibrated
from bebr.store.segments.segment import Segment
from bebr.store.segments.writing import write_segment
from bebr.store.snapshots.part import Part, PartView
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.upkeep.migration import to_merge
from bebr.store.workers.compaction import CALM, CALM_RATIO, LOAD_SECONDS, RATIO
from bebr.store.writes.current import Current
from bebr.store.writes.state import State, bitmap_bytes, files_of, in_memory


class Rewriting:
    """Of one collection. Searches and writes go on beside it; if it fails, nothing has changed. `give_way`, here and
    there, is called between pieces of work, and may raise. `seals`, `merges`: done so far; `written`: when the
    collection was written last, or opened, by the monotonic clock."""

    def __init__(self, current: Current) -> None:
        self._current = current
        self.seals = self.merges = 0
        self.written = time.monotonic()
        self._sealed = deque([-math.inf, -math.inf], 2)  # when the last two seals ended, by that clock

    @property
    def due(self) -> bool:
        """Whether there is something to merge."""
        state = self._current.state
        return bool(self._to_merge(state, state.snapshot, self._ratio))

    @property
    def due_in(self) -> float | None:
        """Seconds until there is, if nothing is written; None for never."""
        if self.due:
            return 0.0
        state = self._current.state
        calm = self._to_merge(state, state.snapshot, CALM_RATIO)
        return max(0.0, self.written + CALM - time.monotonic()) if calm else None

    @property
    def _ratio(self) -> int:
        return CALM_RATIO if time.monotonic() >= self.written + CALM else RATIO

    def _to_merge(self, state: State, base: Snapshot, ratio: int) -> list[PartView]:
        return to_merge(base, state.target, state.shape, ratio, self._loading and ratio == RATIO)

    @property
    def _loading(self) -> bool:
        """Whether there were two seals of late."""
        return time.monotonic() < self._sealed[0] + LOAD_SECONDS

    def end_load(self) -> None:
        """Somebody waits for merges, however many rows came of late: large ones are due at once."""
        self._sealed.extend([-math.inf, -math.inf])

    def seal(self, give_way: Callable[[], None] = nothing) -> bool:
        """Writes what is in memory to a segment file, beside a merge; False where the collection was closed."""
        current = self._current
        with current.sealing:
            if current.closed is not None:
                return False
            self.seal_memory(give_way)
        return True

    def seal_memory(self, give_way: Callable[[], None]) -> None:
        """The same for a caller that holds `sealing`."""
        current = self._current
        while True:
            base, state = current.run(lambda: (current.begin_seal(), current.state))
            memory = in_memory(base)
            try:
                if memory or state.newly_dead(base):
                    self._rewrite(state, base, memory, give_way, base.version)
                    self.seals += 1
                    self._sealed.append(time.monotonic())
                return
            except _Truncated:  # the collection was read anew meanwhile: its rows in memory are other ones
                continue

    def merge(self, give_way: Callable[[], None] = nothing) -> bool:
        """Makes one file of those that `to_merge` names, if any, beside seals; False where the collection was closed,
        or what was merged is there no more."""
        current = self._current
        with current.merging:
            if current.closed is not None:
                return False
            state = current.state
            base = state.snapshot
            chosen = self._to_merge(state, base, self._ratio)
            if chosen:
                try:
                    self._rewrite(state, base, chosen, give_way)
                    self.merges += 1
                except _Truncated:
                    return False
        return True

    def _rewrite(
        self,
        state: State,
        base: Snapshot,
        views: Sequence[PartView],
        give_way: Callable[[], None],
        sealed: int | None = None,
    ) -> None:
        """Puts one new file in the place of parts of `base`, a snapshot of `state`. `sealed`: of a seal, the last write
        that is in files then."""
        current = self._current
        files, target = current.shared.files, state.target

        def pause() -> None:
            give_way()
            current.check_open()
            if state is not current.state or (sealed is None and not _among(views, current.state.snapshot)):
                raise _Truncated

        kind = "flat" if sealed is not None else state.shape.kind(sum(view.live for view in views))
        coding = Coding(target, state.keeping)
        made = write_segment(files.folder, state.number, coding, views, kind, state.text, pause)
        try:
            # Verified, so that its pages are there when it is searched first, and good before others are deleted.
            segment = None
            if made is not None:
                segment = state.segment(made, target, verify=True, pending=True)
                segment.effort, segment.rescored = calibrated(
                    segment, state.keeping, state.row.settings.target_recall, pause
                )
            if made is not None:
                files.publish(made)
            current.run(lambda: self._install(state, base, views, segment, sealed))
        except BaseException:
            if made is not None and not current.listed(made.file):
                files.discard(made.file)
            raise
        current.unlink([row.file for row in files_of(views)])

    def _install(
        self, state: State, base: Snapshot, views: Sequence[PartView], segment: Segment | None, sealed: int | None
    ) -> None:
        """Puts `segment` in the place of what it was made from, the parts `views` of `base`, in the writing thread.
        `state`, `sealed`: as of `_rewrite`."""
        now = state.snapshot
        if state is not self._current.state or not _among(views, now):
            raise _Truncated
        replaced = {view.part: view.dead for view in views}
        kept = [view for view in now.segments if view.part not in replaced]
        # With the journal, the catalog forgets who died until then: bitmaps say it. What dies twice is as dead.
        there = {view.part for view in kept}
        dead = {part: bitmap for part, bitmap in state.newly_dead(base).items() if part in there and sealed is not None}
        added: list[PartView] = []
        if segment is not None:
            added.append(_without(segment, _died_since(now, replaced)))
            self._current.shared.files.install([segment.row.file])
        sealed = state.sealed if sealed is None else sealed
        version = self._current.shared.catalog.install(
            state.number,
            [replace(view.part.row, dead=bitmap_bytes(view.dead)) for view in added if view.part.row is not None],
            [row.file for row in files_of(views)],
            {part.row.file: bitmap_bytes(bitmap) for part, bitmap in dead.items() if part.row is not None},
            sealed,
            after := state.row_with((*kept, *added)),
        )
        state.row, state.sealed = after or state.row, sealed
        known: dict[Part, Bitmap | None] = {**state.installed, **dead, **{view.part: view.dead for view in added}}
        state.installed = {view.part: known.get(view.part) for view in (*kept, *added)}
        self._current.show(replace(now, version=version, segments=(*kept, *added)))
        self._current.on_install()


class _Truncated(Exception):
    """What is being sealed or merged is there no more."""


def _among(views: Sequence[PartView], snapshot: Snapshot) -> bool:
    there = {view.part for view in snapshot.segments}
    return all(view.part in there for view in views)


def _died_since(now: Snapshot, before: Mapping[Part, Bitmap | None]) -> Ids:
    """Ids of the rows of some parts that are dead in a snapshot and were not before."""
    ids = [np.empty(0, np.int64)]
    for view in now.segments:
        if view.part in before and view.dead is not None and view.dead is not before[view.part]:
            fresh = view.dead & ~bitmaps.resized(before[view.part], view.part.rows)
            ids.append(view.part.index.ids[bitmaps.members(fresh)])
    return np.concatenate(ids)


def _without(segment: Segment, ids: Ids) -> PartView:
    """A view of all rows but those of `ids`."""
    if len(ids) == 0:
        return PartView(segment, None, segment.rows)
    dead = bitmaps.resized(None, segment.rows)
    bitmaps.add(dead, segment.positions(ids))
    return PartView(segment, dead, segment.rows - len(ids))
