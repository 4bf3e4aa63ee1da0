"""What searches of one snapshot read for a filter, kept for those that come with it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bebr import core
from bebr.collection.filter_tree import Filter
from bebr.index.segments import SegmentView
from bebr.store.snapshots.copies import Copy
from bebr.store.snapshots.matching import MOST_KEPT

Grouped = tuple[Filter | None, str]
"""Which rows, and by what field they are grouped."""

Key = tuple[str, Filter, bool]
"""The digest of the model, the filter, and whether the queries are few."""


@dataclass(frozen=True)
class Allowed:
    """Views for `search_segments`. `rows`: live ones of all, those that the filter leaves out too. `candidates`: how
    many rows the first stage keeps at least."""

    views: Sequence[SegmentView]
    rows: int
    candidates: int = 0


@dataclass
class _Plan:
    """What every further search with the filter gets, as long as the `copies` that it reads are kept. `engine`: what
    answers these in C++, once somebody asked for it."""

    allowed: Allowed
    copies: Sequence[Copy]
    engine: core.FilteredSnapshot | None = None

    def holds(self) -> bool:
        """Whether all copies are kept. They then count as used last."""
        for copy in self.copies:  # noqa: SIM110 - a generator costs a fiftieth of a search of 100 rows
            if not copy.keeps():
                return False
        return True


class Plans:
    """Of one snapshot. Threads: any number at once."""

    def __init__(self) -> None:
        self._plans: dict[Key, _Plan] = {}
        self._ready: dict[tuple[Filter, bool], _Plan] = {}
        self._grouped: dict[Grouped, list[core.GroupedSnapshot | None]] = {}
        self.shown: dict[str, Filter | Grouped] = {}
        """What a server's front was told of, by what it calls it. For that alone."""

    def get(self, key: Key) -> Allowed | None:
        """None where copies are not whole yet, or were given up."""
        plan = self._plan(key)
        return None if plan is None else plan.allowed

    def _plan(self, key: Key) -> _Plan | None:
        plan = self._plans.get(key)
        return plan if plan is not None and plan.holds() else None

    def ready(self, filter: Filter, few: bool) -> core.FilteredSnapshot | None:
        """What `engine` gave of the filter for few queries or for many, whose copies are kept. All that a search asks
        where a filter comes again: between two that read 100 rows nothing else is to be looked up."""
        plan = self._ready.get((filter, few))
        return plan.engine if plan is not None and plan.holds() else None

    def engine(self, key: Key, make: Callable[[Allowed], core.FilteredSnapshot]) -> core.FilteredSnapshot | None:
        """What `make` makes, once, of what `get` returns; None where that is None. Of the model of all rows."""
        plan = self._plan(key)
        if plan is None:
            return None
        if plan.engine is None:
            plan.engine = make(plan.allowed)
        self._ready[key[1:]] = plan
        return plan.engine

    def groups(self, key: Grouped) -> core.GroupedSnapshot | None:
        """What `grouped` made, where it did."""
        made = self._grouped.get(key)
        return made[0] if made else None

    def grouped(self, key: Grouped, make: Callable[[], core.GroupedSnapshot | None]) -> core.GroupedSnapshot | None:
        """What `make` makes, once, when somebody asks for the second time."""
        if key not in self._grouped:
            if len(self._grouped) >= MOST_KEPT:
                self._grouped.clear()
            self._grouped[key] = []
            return None
        made = self._grouped[key]
        if not made:
            made.append(make())
        return made[0]

    def put(self, key: Key, found: Allowed, copies: Sequence[Copy]) -> None:
        """`copies`: those that it reads."""
        if len(self._plans) >= MOST_KEPT:
            self._plans.clear()
            self._ready.clear()
        self._plans[key] = _Plan(found, copies)
