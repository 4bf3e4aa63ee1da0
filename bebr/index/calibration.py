"""The fastest setting of an IVF search that reaches a recall."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bebr.arrays import Ids
from bebr.binarizer.codes import PreparedQueries
from bebr.exact import hits
from bebr.index.base import Index

_ROUNDS = 5


class Setting(NamedTuple):
    """What was found, the recall it has, and the least seconds that a search took."""

    nprobe: int
    margin: float
    recall: float
    seconds: float


def calibrated(
    index: Index, nlist: int, prepared: PreparedQueries, wanted: Ids, target: float, margins: Sequence[float]
) -> Setting:
    """For each margin the smallest nprobe, up to ``nlist``, that reach ``target``; of these the fastest by the clock.

    target: share of ``wanted`` int64[n, k] to find. ``ValueError`` where no setting does. Recall is that of queries
    asked one at a time: in a batch they may be scored over all planes, which finds no less and which no margin makes
    faster.
    """
    k = wanted.shape[1]

    def recall(nprobe: int, margin: float) -> float:
        found = index.search_prepared(prepared, k, nprobe=nprobe, margin=margin, batch_invariant=True).ids
        return float(hits(found, wanted).mean())

    enough = []
    best = 0.0
    for margin in margins:
        reached = recall(nlist, margin)
        best = max(best, reached)
        if reached < target:
            continue
        low, high = 1, nlist
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if recall(middle, margin) >= target else (middle + 1, high)
        enough.append((low, margin))
    if not enough:
        raise ValueError(
            f"target_recall is {target}, but these codes reach {best:.4f} with every list: want at most that"
        )
    single = list(prepared)
    return min(
        (Setting(p, m, recall(p, m), min(_seconds(index, single, k, p, m))) for p, m in enough),
        key=lambda s: s.seconds,
    )


def _seconds(index: Index, single: Sequence[PreparedQueries], k: int, nprobe: int, margin: float) -> Iterator[float]:
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for one in single:
            index.search_prepared(one, k, nprobe=nprobe, margin=margin)
        yield time.perf_counter() - start
