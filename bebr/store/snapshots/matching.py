"""Which rows of a part match a filter: columns answer, and where they cannot, the payloads of the rows in question."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from bebr.arrays import Ids
from bebr.collection.checks import load_payload
from bebr.collection.filter_tree import All, Condition, Either, Filter, Not
from bebr.store.columns.table import Columns
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap

_PIECE = 4096  # payloads read at a time

# Filters whose answers a part keeps, each a bit a row.
MOST_KEPT = 16


class Answers:
    """The answers to the last filters. Threads: any number at once."""

    def __init__(self) -> None:
        self._bitmaps: OrderedDict[Filter, Bitmap] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, filter: Filter, make: Callable[[], Bitmap]) -> Bitmap:
        """What ``make`` returned for an equal filter, or returns now."""
        with self._lock:
            if filter in self._bitmaps:
                self._bitmaps.move_to_end(filter)
                return self._bitmaps[filter]
        made = make()
        with self._lock:
            self._bitmaps[filter] = made
            if len(self._bitmaps) > MOST_KEPT:
                self._bitmaps.popitem(last=False)
        return made


def matching_rows(filter: Filter, columns: Columns, texts: Callable[[Ids], list[str]], answers: Answers) -> Bitmap:
    """The rows that match, not to be changed; bits past the last row are not set. ``texts(rows)``: payloads of rows as
    JSON, "" for none."""
    return answers.get(filter, lambda: _found(filter, columns, texts, answers))


def _found(filter: Filter, columns: Columns, texts: Callable[[Ids], list[str]], answers: Answers) -> Bitmap:
    match filter:
        case Condition():
            hits, sure = columns.find(filter)
            # By payloads takes long enough to keep, even if the whole filter does not come again.
            return hits if sure else answers.get(filter, lambda: _looked_at(filter, hits, texts))
        case Not(part):
            return _found(part, columns, texts, answers) ^ bitmaps.full(columns.rows)
        case All(parts):
            hits = bitmaps.full(columns.rows)
            for part in parts:
                hits = hits & _found(part, columns, texts, answers)
            return hits
        case Either(parts):
            hits = bitmaps.resized(None, columns.rows)
            for part in parts:
                hits = hits | _found(part, columns, texts, answers)
            return hits
    raise TypeError(f"{filter!r} is of no known kind")


def _looked_at(condition: Condition, rows: Bitmap, texts: Callable[[Ids], list[str]]) -> Bitmap:
    """Those of ``rows`` whose payload matches."""
    found = bitmaps.resized(None, 64 * len(rows))
    candidates = bitmaps.members(rows)
    for begin in range(0, len(candidates), _PIECE):
        some = candidates[begin : begin + _PIECE]
        passed = [condition.matches(load_payload(text)) for text in texts(some)]
        bitmaps.add(found, some[np.array(passed, np.bool_)])
    return found
