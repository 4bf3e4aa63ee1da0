"""What a search of a snapshot reads of the rows that a filter lets through: where they stand, or copies of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bebr import core
from bebr.collection.filter_tree import Filter
from bebr.index.segments import SegmentView
from bebr.store.snapshot import PartView

# More queries than this have a kernel call copy the rows for itself, and share that.
_MOST_QUERIES = 2


@dataclass(frozen=True)
class Allowed:
    """Views for `search_segments`. `rows`: live ones of all, those that the filter leaves out too. `candidates`: how
    many rows the first stage keeps at least."""

    views: Sequence[SegmentView]
    rows: int
    candidates: int = 0


def allowed(parts: Sequence[PartView], filter: Filter | None, queries: int) -> Allowed:
    """For a search of `queries` queries; 0: it reads rows where they stand."""
    rows = sum(part.live for part in parts)
    if filter is None:
        return Allowed([part.view for part in parts], rows)
    matching = [part.part.matching(filter) for part in parts]
    in_place = [replace(part.view, allow=found) for part, found in zip(parts, matching, strict=True)]
    if not queries:
        return Allowed(in_place, rows)
    live = sum(part.count(filter) for part in parts)
    # Rows so few are all completed, without a scan (csrc/index/flat/scan.cpp). So it is to be of copies too.
    each = live <= rows // core.complete_cost
    if each and queries > _MOST_QUERIES:
        return Allowed(in_place, rows)
    views = []
    for part, found, view in zip(parts, matching, in_place, strict=True):
        copies = part.part.copies
        copied = None if copies is None else copies.view(filter, found, part.unsearched, queries, each)
        views.append(view if copied is None else copied)
    return Allowed(views, rows, live if each else 0)
