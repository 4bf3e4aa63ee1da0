"""What a search of a snapshot reads of the rows that a filter lets through: where they stand, or copies of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bebr import core
from bebr.collection.filter_tree import Filter
from bebr.store.snapshots.copies import Copy
from bebr.store.snapshots.part import PartView
from bebr.store.snapshots.plans import Allowed, Plans

# More queries than this have a kernel call copy the rows for itself, and share that.
FEW = 2


def allowed(parts: Sequence[PartView], filter: Filter | None, queries: int, plans: Plans) -> Allowed:
    """For a search of `queries` queries; 0: it reads rows where they stand. `plans`: of the snapshot."""
    if filter is None or not parts:
        return Allowed([part.view for part in parts], sum(part.live for part in parts))
    key = parts[0].part.index.binarizer.digest, filter, queries <= FEW
    if queries and (known := plans.get(key)) is not None:
        return known
    rows = sum(part.live for part in parts)
    matching = [part.part.matching(filter) for part in parts]
    in_place = [replace(part.view, allow=found) for part, found in zip(parts, matching, strict=True)]
    if not queries:
        return Allowed(in_place, rows)
    live = sum(part.count(filter) for part in parts)
    # Rows so few are all completed, without a scan (csrc/index/flat/scan.cpp). So it is to be of copies too.
    each = live <= rows // core.complete_cost
    views, last, used = [], True, list[Copy]()
    for part, rows_here, view in zip(parts, matching, in_place, strict=True):
        copies = part.part.copies
        copied = None
        # A device that has the rows searches them as fast.
        if copies is not None and (part.part.placed is None or not copies.in_lists(part.count(filter))):
            copied, same = copies.view(filter, rows_here, part.unsearched, queries, each, part.part.effort)
            held = copies.held(filter) if copied is not None else None
            last = last and same and (copied is None or held is not None)
            used += [] if held is None else [held]
        views.append(view if copied is None else copied)
    found = Allowed(views, rows, live if each else 0)
    if last:
        plans.put(key, found, used)
    return found
