"""Hits by groups: the best rows of each value of a payload field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from bebr.arrays import Ids
from bebr.collection.checks import load_payload
from bebr.collection.field_values import values_at
from bebr.collection.filter_tree import Condition, Filter, Not
from bebr.collection.options import Groups, SearchOptions
from bebr.collection.protocol import GroupValue
from bebr.index import Hits
from bebr.store.snapshots.group_columns import with_value
from bebr.store.snapshots.snapshot import Snapshot

_FEWEST_HITS = 64
_DEEPER = 4

Find = Callable[[int, SearchOptions], Hits]
_Group = tuple[GroupValue, list[tuple[float, int]]]
_Found = dict[Any, _Group]


def search_groups(
    snapshot: Snapshot, find: Find, queries: int, k: int, groups: Groups, options: SearchOptions, ascending: bool
) -> tuple[Hits, list[list[GroupValue | None]]]:
    """The k groups of the best rows for each query, by their best: hits [n, k * size], −1 where a group has fewer than
    `size` rows, and the values of the groups, None where there are no more. `find(query, options)`: a search for one.

    Never fewer groups than there are, up to k: where the best rows are of too few groups, the search goes on among rows
    of other values. A group has its best rows, however far down they are.
    """
    shape = queries, k, groups.size
    scores = np.full(shape, np.inf if ascending else -np.inf, np.float32)
    ids = np.full(shape, -1, np.int64)
    values: list[list[GroupValue | None]] = [[None] * k for _ in range(queries)]
    grouping = _Grouping(snapshot, find, k, groups, options, -1 if ascending else 1)
    for query in range(queries):
        for number, (value, rows) in enumerate(grouping.of(query)):
            values[query][number] = value
            for place, (score, id) in enumerate(rows[: groups.size]):
                scores[query, number, place], ids[query, number, place] = score, id
    return Hits(scores.reshape(queries, -1), ids.reshape(queries, -1)), values


class _Grouping:
    def __init__(
        self, snapshot: Snapshot, find: Find, k: int, groups: Groups, options: SearchOptions, sign: int
    ) -> None:
        """`sign`: 1 where large scores are good ones, else -1."""
        self._sign = sign
        self._snapshot, self._find, self._k, self._size, self._options = snapshot, find, k, groups.size, options
        self._path = tuple(groups.by.split("."))
        self._values: dict[int, list[GroupValue]] = {}  # of rows

    def of(self, query: int) -> list[_Group]:
        """The k best groups, with the scores and ids of their `size` best rows, where there are so many."""
        found: _Found = {}
        depth = max(_FEWEST_HITS, _DEEPER * self._k * self._size)
        exists = with_value(".".join(self._path))
        whole = last = self._search(query, depth, exists)
        several = self._add(last, found)
        while len(found) < self._k and _more(last):
            before = len(found)
            if not several:
                last = self._search(query, depth, Not(Condition(self._path, "in", _values(found))))
                several = self._add(last, found)
            if several or len(found) == before:  # a row with a value that is known may have one that is not, or none
                if depth >= len(self._snapshot):
                    break
                depth *= _DEEPER
                whole = last = self._search(query, depth, exists)
                several |= self._add(last, found)
        groups = self._ranked(found.values())[: self._k]  # the others are not shown, however few their rows are
        for value, rows in groups if _more(whole) else []:
            if len(rows) < self._size:
                best = self._search(query, self._size, Condition(self._path, "eq", value))
                pairs = zip(best.scores[0].tolist(), best.ids[0].tolist(), strict=True)
                rows[:] = [(score, id) for score, id in pairs if id >= 0] or rows
        return self._ranked(groups)

    def _ranked(self, groups: Iterable[_Group]) -> list[_Group]:
        """By their best rows, and the rows of each; equal scores by the smaller id."""
        groups = list(groups)
        for _, rows in groups:
            rows.sort(key=lambda row: (-self._sign * row[0], row[1]))
        return sorted(groups, key=lambda group: -self._sign * group[1][0][0])

    def _search(self, query: int, depth: int, condition: Filter) -> Hits:
        wanted = condition if isinstance(condition, Condition) else with_value(".".join(self._path)) & condition
        given = self._options
        depth = min(depth, max(len(self._snapshot), 1))
        return self._find(
            query,
            replace(
                given,
                k=depth,
                rescore=given.rescore and max(given.rescore, depth),
                filter=wanted if given.filter is None else given.filter & wanted,
            ),
        )

    def _add(self, hits: Hits, found: _Found) -> bool:
        """Puts hits into their groups; returns whether one has several values."""
        there = hits.ids[0] >= 0
        ids = hits.ids[0][there]
        self._read(ids)
        several = False
        for score, id in zip(hits.scores[0][there].tolist(), ids.tolist(), strict=True):
            several |= len(self._values[id]) > 1
            for value in self._values[id]:
                rows = found.setdefault((isinstance(value, bool), value), (value, []))[1]
                if len(rows) < self._size and all(id != other for _, other in rows):
                    rows.append((score, id))
        return several

    def _read(self, ids: Ids) -> None:
        new = np.array([id for id in ids.tolist() if id not in self._values], np.int64)
        for id, text in zip(new.tolist(), self._snapshot.payload_texts(new), strict=True):
            values = (value for value, _ in values_at(load_payload(text), self._path))
            scalars = (value for value in values if isinstance(value, str | int | float))
            self._values[id] = list({(isinstance(value, bool), value): value for value in scalars}.values())


def _more(hits: Hits) -> bool:
    """Whether there may be rows beyond these."""
    return bool(hits.ids[0, -1] >= 0)


def _values(found: _Found) -> tuple[GroupValue, ...]:
    return tuple(value for value, _ in found.values())
