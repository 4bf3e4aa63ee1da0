"""What a search of a snapshot reads of the rows that a filter lets through: where they stand, or copies of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bebr import core
from bebr.collection.filter_tree import Filter
from bebr.index.segments import SegmentView
from bebr.store import bitmaps
from bebr.store.snapshot import PartView

# Passing over so many rows costs about as much as copying one.
_COPY_COST = 300
# Fewer rows than this are completed as fast where they stand.
_FEWEST_COPIED = 256
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
    if each and (live < _FEWEST_COPIED or queries > _MOST_QUERIES):
        return Allowed(in_place, rows)
    views = []
    for part, found, view in zip(parts, matching, in_place, strict=True):
        copies = part.part.copies
        if copies is not None:
            mine = bitmaps.count(found)
            budget = mine // 4 if each else queries * (part.part.rows - mine) // _COPY_COST
            view = copies.view(filter, found, part.dead, budget) or view
        views.append(view)
    return Allowed(views, rows, live if each else 0)
