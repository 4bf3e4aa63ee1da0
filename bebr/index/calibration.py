"""The fastest setting of an IVF search that reaches a recall."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bebr.arrays import Ids
from bebr.binarizer import PreparedQueries
from bebr.exact import hits

if TYPE_CHECKING:
    from bebr.index.ivf import IVFIndex

_ROUNDS = 5


class Setting(NamedTuple):
    """What was found, the recall it has, and the least seconds that a search took."""

    probes: int
    margin: float
    recall: float
    seconds: float


def calibrated(
    index: IVFIndex, prepared: PreparedQueries, wanted: Ids, target: float, margins: Sequence[float]
) -> Setting:
    """For each margin the fewest probes that reach ``target``; of these the fastest by the clock.

    target: share of ``wanted`` int64[n, k] to find. ``ValueError`` where no setting does.
    """
    k = wanted.shape[1]

    def recall(probes: int, margin: float) -> float:
        return float(hits(index.search_prepared(prepared, k, probes=probes, margin=margin).ids, wanted).mean())

    enough = []
    best = 0.0
    for margin in margins:
        reached = recall(index.lists, margin)
        best = max(best, reached)
        if reached < target:
            continue
        low, high = 1, index.lists
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if recall(middle, margin) >= target else (middle + 1, high)
        enough.append((low, margin))
    if not enough:
        raise ValueError(
            f"target_recall is {target}, but these codes reach {best:.4f} with every list: want at most that"
        )
    return min(
        (Setting(p, m, recall(p, m), min(_seconds(index, prepared, k, p, m))) for p, m in enough),
        key=lambda s: s.seconds,
    )


def _seconds(index: IVFIndex, prepared: PreparedQueries, k: int, probes: int, margin: float) -> Iterator[float]:
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        index.search_prepared(prepared, k, probes=probes, margin=margin)
        yield time.perf_counter() - start
