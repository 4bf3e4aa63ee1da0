"""Which of the measured settings to take, and why.

Without a wish, memory is bought as long as it pays: up to the last code for which twice the bytes still add ``WORTH``
of recall. With a target, the fewest bytes that reach it. Either way the answer is on the Pareto line of bytes and
recall, so a setting that another one beats is neither recommended nor of influence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bebr.tradeoff.row import Row
from bebr.tradeoff.series import pareto

# Recall that twice the bytes must add. Each doubling of a code's bytes adds less than the one before.
WORTH = 0.05


@dataclass(frozen=True)
class Recommendation:
    """One of bebr's settings.

    row             the setting
    smaller, larger its neighbours among those that were worth considering; None at the ends
    ahead           points of peers with as much recall in as few bytes, the smallest first
    target_recall   what was asked for, if anything was
    reached         whether ``row`` reaches it, by one standard error; True where nothing was asked for
    """

    row: Row
    smaller: Row | None
    larger: Row | None
    ahead: tuple[Row, ...]
    target_recall: float | None
    reached: bool

    @property
    def sentence(self) -> str:
        """The setting and its reason, in one sentence."""
        row = self.row
        parts = [
            f"{_size(row)} a vector: recall@{row.k} {row.recall:.3f} ± {row.recall_error:.3f} "
            f"at {row.queries_per_second:,.0f} queries a second"
        ]
        if not self.reached:
            parts.append(f"no code measured here reaches {self.target_recall:g}")
        if self.larger is not None:
            times = self.larger.bytes_per_vector / row.bytes_per_vector
            gain = self.larger.recall - row.recall
            parts.append(f"{_size(self.larger)} would add {gain:.3f} for {times:.1f} times the memory")
        else:
            parts.append("no larger code that recalls more was measured")
        if self.smaller is not None:
            parts.append(f"{_size(self.smaller)} would lose {row.recall - self.smaller.recall:.3f}")
        return "; ".join(parts) + "."

    @property
    def rule(self) -> str:
        """How it was chosen, in one sentence."""
        if self.target_recall is not None:
            return f"The fewest bytes whose recall, less its standard error, is at least {self.target_recall:g}."
        return f"The last code for which twice the bytes still add {WORTH:g} of recall."

    @property
    def arguments(self) -> dict[str, Any]:
        """What `bebr.train` takes to make it, beside metric and seed."""
        if self.row.recipe == "ragged":
            return {"bytes_per_vector": int(self.row.bytes_per_vector)}
        return {"widths": list(self.row.widths)}


def recommend(rows: Sequence[Row], target_recall: float | None = None) -> Recommendation:
    """One of bebr's rows. ValueError where there is none, or for a target that is not between 0 and 1."""
    if target_recall is not None and not 0 < target_recall < 1:
        raise ValueError(f"target_recall: got {target_recall}, wanted a number between 0 and 1")
    front = pareto(row for row in rows if row.system == "bebr")
    if not front:
        raise ValueError("rows: got none of bebr, wanted at least one to recommend")
    bends = _concave(front)
    chosen, reached = bends[0], True
    if target_recall is None:
        for before, after in pairwise(bends):
            if _slope(before, after) >= WORTH:
                chosen = after
    else:
        enough = [row for row in front if row.recall - row.recall_error >= target_recall]
        chosen, reached = (enough or front[-1:])[0], bool(enough)
    size = chosen.bytes_per_vector
    ahead = [
        row for row in rows if row.system != "bebr" and row.bytes_per_vector <= size and row.recall >= chosen.recall
    ]
    return Recommendation(
        row=chosen,
        smaller=next((row for row in reversed(bends) if row.bytes_per_vector < size), None),
        larger=next((row for row in bends if row.bytes_per_vector > size), None),
        ahead=tuple(sorted(ahead, key=lambda row: (row.bytes_per_vector, -row.recall))),
        target_recall=target_recall,
        reached=reached,
    )


def _concave(front: Sequence[Row]) -> list[Row]:
    """The corners of the line above all of ``front``: along it a doubling of bytes adds less and less recall."""
    corners: list[Row] = []
    for row in front:
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], row):
            corners.pop()
        corners.append(row)
    return corners


def _slope(a: Row, b: Row) -> float:
    """Recall that each doubling of bytes adds on the way from a to b."""
    return (b.recall - a.recall) / math.log2(b.bytes_per_vector / a.bytes_per_vector)


def _size(row: Row) -> str:
    return f"{row.bytes_per_vector:g} bytes"
