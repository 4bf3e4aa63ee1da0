"""From measured points to curves, to speed at given recalls, and to who is faster there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich.table import Table

from benchmarks.ann_results import Figure, Row

__all__ = ["LEVELS", "Cell", "Verdict", "at", "pareto", "tables", "verdicts"]

LEVELS = (0.90, 0.92, 0.93, 0.94, 0.95, 0.98)
WON, WON_LARGER, LOST, OPEN = "won", "won with more bytes", "lost", "not reached by the peer"
_MARKS = {WON: "", WON_LARGER: " +", LOST: " ✗", OPEN: ""}


def pareto(figures: Sequence[Figure]) -> list[Figure]:
    """Those that no other beats in both recall and speed, by rising recall (and so by falling speed)."""
    best: list[Figure] = []
    for figure in sorted(figures, key=lambda figure: (-figure.recall, -figure.qps)):
        if not best or figure.qps > best[-1].qps:
            best.append(figure)
    return best[::-1]


def at(figures: Sequence[Figure], level: float) -> float | None:
    """Queries a second at recall ``level``: the logarithm of speed is linear in recall between two Pareto points.

    Below the first point its speed stands, which is a lower bound; above the last there is none.
    """
    curve = pareto(figures)
    if not curve or level > curve[-1].recall:
        return None
    if level <= curve[0].recall:
        return curve[0].qps
    for low, high in pairwise(curve):
        if level <= high.recall:
            share = (level - low.recall) / (high.recall - low.recall)
            return math.exp((1 - share) * math.log(low.qps) + share * math.log(high.qps))
    raise AssertionError("a level below the last point lies below some point")


@dataclass(frozen=True)
class Cell:
    """One peer at one recall: the fastest of ours there, how many times the peer's speed that is, and the verdict.

    comparable: both were timed in turns in one run.
    """

    level: float
    result: str
    ours: str | None = None
    ratio: float | None = None
    comparable: bool = True

    def __str__(self) -> str:
        if self.result == OPEN:
            return "–"
        return (
            f"{'–' if self.ratio is None else f'{self.ratio:.2f}'}{'' if self.comparable else '~'}{_MARKS[self.result]}"
        )


@dataclass(frozen=True)
class Verdict:
    """A peer's row of cells."""

    peer: str
    bytes_per_vector: float
    cells: tuple[Cell, ...]


def verdicts(rows: Sequence[Row], levels: Sequence[float] = LEVELS) -> list[Verdict]:
    """Each peer against the fastest of ours of no more bytes; where that loses, against the fastest of ours of any."""
    ours = [row for row in rows if row.library == "bebr"]
    return [
        Verdict(row.engine, row.bytes_per_vector, tuple(_cell(row, ours, level) for level in levels))
        for row in rows
        if row.library != "bebr"
    ]


def _cell(peer: Row, ours: Sequence[Row], level: float) -> Cell:
    theirs = at(peer.figures, level)
    if theirs is None:
        return Cell(level, OPEN)
    able = [(speed, row) for row in ours if (speed := at(row.figures, level)) is not None]
    for result, rivals in (
        (WON, [(speed, row) for speed, row in able if row.bytes_per_vector <= peer.bytes_per_vector]),
        (WON_LARGER, able),
        (LOST, able),
    ):
        if rivals:
            speed, row = max(rivals, key=lambda pair: pair[0])
            if speed >= theirs or result == LOST:
                comparable = row.run == peer.run and row.interleaved and peer.interleaved
                return Cell(level, result, row.engine, speed / theirs, comparable)
    return Cell(level, LOST)


def tables(rows: Sequence[Row], levels: Sequence[float] = LEVELS) -> list[Table]:
    """Of one data set: the Pareto points of each engine, speed at each recall, verdicts if both sides are there."""
    rows = sorted(rows, key=lambda row: (row.library != "bebr", row.engine))
    both = len({row.library == "bebr" for row in rows}) == 2
    return [_points(rows), _speeds(rows, levels)] + ([_verdicts(rows, levels)] if both else [])


def _points(rows: Sequence[Row]) -> Table:
    conditions = rows[0].conditions
    table = _table(
        f"{conditions.dataset}, {conditions.mode}, {conditions.threads} thread(s), {conditions.machine}",
        ["engine"],
        ["bytes", "build s", "peak MiB", f"recall@{conditions.k}", "q/s", "setting"],
    )
    for row in rows:
        facts = [
            row.engine,
            f"{row.bytes_per_vector:,.0f}",
            f"{row.build_seconds:.1f}",
            f"{row.peak_bytes / 2**20:,.0f}",
        ]
        for figure in pareto(row.figures):
            setting = " ".join(f"{name}={value}" for name, value in figure.setting.items())
            table.add_row(*facts, f"{figure.recall:.4f}", f"{figure.qps:,.0f}", setting)
            facts = [""] * 4
        table.add_section()
    return table


def _speeds(rows: Sequence[Row], levels: Sequence[float]) -> Table:
    table = _table("queries a second at recall", ["engine"], ["bytes", *[f"{level:.2f}" for level in levels]])
    for row in rows:
        speeds = [at(row.figures, level) for level in levels]
        shown = ["–" if speed is None else f"{speed:,.0f}" for speed in speeds]
        table.add_row(row.engine, f"{row.bytes_per_vector:,.0f}", *shown)
    return table


def _verdicts(rows: Sequence[Row], levels: Sequence[float]) -> Table:
    table = _table("times the peer's speed, by the fastest of ours", ["peer"], ["bytes", *[f"{x:.2f}" for x in levels]])
    table.caption = (
        "ours has no more bytes than the peer; + only with more; ✗ we lose; – alone: the peer does not get there; "
        "~ not timed in turns in one run"
    )
    found = verdicts(rows, levels)
    for verdict in found:
        table.add_row(verdict.peer, f"{verdict.bytes_per_vector:,.0f}", *[str(cell) for cell in verdict.cells])
    lost = sum(cell.result == LOST for verdict in found for cell in verdict.cells)
    table.title = f"{table.title}: {lost} cells lost"
    return table


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Any:
    table = Table(title=title)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right")
    return table
