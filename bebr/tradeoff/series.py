"""Which points belong to one curve, and which of them a line joins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bebr.tradeoff.row import Row


@dataclass(frozen=True)
class Series:
    """One curve. ``rows``: its points by bytes; ``line``: those that a line joins, of a peer its Pareto points only."""

    label: str
    system: str
    rows: tuple[Row, ...]
    line: tuple[Row, ...]


def pareto(rows: Iterable[Row]) -> list[Row]:
    """The rows that no other one equals or beats in both bytes and recall, by bytes; of equal ones the fastest."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.bytes_per_vector, -row.recall, -row.queries_per_second)):
        if not front or row.recall > front[-1].recall:
            front.append(row)
    return front


def series(rows: Sequence[Row]) -> list[Series]:
    """Curves of ``rows`` in the order of their first points: a recipe and query mode, or a family of a peer's codes."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.system, _label(row)), []).append(row)
    found = []
    for (system, label), members in groups.items():
        members.sort(key=lambda row: row.bytes_per_vector)
        line = members if system == "bebr" else pareto(members)
        found.append(Series(label, system, tuple(members), tuple(line)))
    return found


def _label(row: Row) -> str:
    if row.system == "bebr":
        return row.name
    # "faiss RaBitQ4" and "faiss PQ96x4fs" belong to the lines "faiss RaBitQ" and "faiss PQ"
    family = re.sub(r"\d.*", "", row.recipe).strip()
    return row.recipe if re.search(r" [a-z]$", family) else family  # "usearch b1" and "usearch i8" are no family
