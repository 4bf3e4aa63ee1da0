"""Scores as other libraries compare them: the higher, the nearer, whatever the metric."""

from __future__ import annotations

import math
from collections.abc import Callable

from bebr.collection.protocol import CollectionLike


def nearness(squared: float) -> float:
    """1 for a squared distance of 0, and less for larger ones, down to 0."""
    return 1 / (1 + math.sqrt(max(squared, 0.0)))


class Rising:
    """Turns scores of a collection's searches by vector into such ones: distances by :func:`nearness`; others rise
    already. The metric is asked for once, since a server sends its whole model to say it."""

    def __init__(self, collection: CollectionLike) -> None:
        self._collection = collection
        self._of: Callable[[float], float] | None = None

    def __call__(self, scores: list[float]) -> list[float]:
        if self._of is None:
            self._of = nearness if self._collection.binarizer.metric == "l2" else float
        return list(map(self._of, scores))
