"""A trial of the user's own search: vectors held out as queries, the rest trained on and searched.

More rows are harder to search: neighbours lie closer. The log-odds of recall fall nearly in a line with the logarithm
of the number of rows, so recall at two sizes tells recall at a size that was not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, as_vectors, normalized
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.exact import exact, hits
from bebr.index import FlatIndex
from bebr.training.linear.fitting import fit_linear

QUERIES, BASE, TRAIN = 2_000, 65_536, 32_768
# Rounds of alternating least squares; training does 40. The model trained in the end is a little better than the trial
# (docs/experiments/planning-rounds.md).
_ROUNDS = 8
_SIZES = (1.0, 0.25)  # shares of the base that are searched
# The default search completes as many rows as a fit to the training sample found to be enough there. The model that is
# trained in the end measures it on more rows; here it is taken four times as large, so that it costs no recall.
_CANDIDATES = 4
_FEWEST_ROWS = 16  # per neighbour, of the smallest base that is searched
_BLOCKS = 20  # of queries, for the error


@dataclass(frozen=True)
class Predicted:
    """recall: the mean share of the exact top k among the k found, of queries that training has not seen.
    error: its standard error, over the held-out queries and the extrapolation to more rows."""

    recall: float
    error: float

    def towards(self, other: Predicted, share: float) -> Predicted:
        """A point on the way to ``other``: log-odds of recall and the error, each in proportion."""
        odds = [_log_odds(p.recall) for p in (self, other)]
        error = self.error + share * (other.error - self.error)
        return Predicted(_recall(odds[0] + share * (odds[1] - odds[0])), error)

    def __str__(self) -> str:
        return f"{self.recall:.3f} ± {self.error:.3f}"


def _log_odds(recall: float) -> float:
    kept = min(max(recall, 1e-9), 1 - 1e-9)
    return math.log(kept / (1 - kept))


def _recall(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def fewest(k: int) -> int:
    """Vectors that a trial of recall@k needs: k to find and a quarter as many, two at least, to hold out."""
    return k + max(2, -(-k // 4))


class Holdout:
    """Held-out queries, a base to search and its exact answers, drawn once and searched by every candidate."""

    def __init__(self, x: ArrayLike, metric: str, k: int, rows: int | None, seed: int) -> None:
        """x: float32[n, d]; rows: the size that recall is predicted for, None for n.

        ``ValueError`` for fewer than :func:`fewest` vectors, or fewer rows than k.
        """
        array = np.asarray(x)
        if array.ndim == 2 and len(array) > QUERIES + BASE:  # a memory-mapped array is read for these rows only
            array_rows = np.random.default_rng(seed).choice(len(array), QUERIES + BASE, replace=False)
            drawn = as_vectors(array[np.sort(array_rows)], "x")
        else:
            drawn = as_vectors(array, "x")
        if len(drawn) < fewest(k):
            raise ValueError(f"x has {len(drawn)} vectors: want at least {fewest(k)} to plan for k={k}")
        self.rows = len(array) if rows is None else rows
        if self.rows < k:
            raise ValueError(f"rows is {self.rows}: want at least k={k}")
        if metric == "cosine":
            drawn = normalized(drawn)
        order = np.random.default_rng(seed + 1).permutation(len(drawn))
        held = min(QUERIES, max(2, len(drawn) // 5), len(drawn) - k)
        self.metric, self.k, self.seed = metric, k, seed
        self.queries = drawn[order[:held]]
        self.base = drawn[order[held:]]
        self.train = self.base[:TRAIN]
        self.base = self.base[: self.rows]
        shares = (1.0,) if len(self.base) == self.rows else _SIZES
        sizes = sorted({int(share * len(self.base)) for share in shares}, reverse=True)
        self.sizes = [size for size in sizes if size == sizes[0] or size >= _FEWEST_ROWS * k]
        self._truths = [exact(self.base[:size], self.queries, k, metric) for size in self.sizes]

    def predict(self, widths: tuple[int, ...]) -> dict[Query, Predicted]:
        """Train with these planes, search with float queries (ADC) and coded ones (SDC)."""
        model = probe(self.train, widths, self.metric, self.seed)
        codes = model.encode(self.base)
        modes: tuple[Query, Query] = ("float", "code")
        shares: dict[Query, list[Floats]] = {mode: [] for mode in modes}
        for size, truth in zip(self.sizes, self._truths, strict=True):
            index = FlatIndex(model)
            index.add_codes(codes[:size], np.arange(size))
            oversampling = -(-_CANDIDATES * max(model.settings.first_stage_rows(size), 4 * self.k) // self.k)
            for mode in modes:
                found = index.search(self.queries, self.k, query=mode, oversampling=oversampling).ids
                shares[mode].append(hits(found, truth))
        return {mode: self._extrapolate(np.array(shares[mode], np.float64)) for mode in modes}

    def _extrapolate(self, shares: NDArray[np.float64]) -> Predicted:
        """Recall at ``rows`` from shares float64[sizes, queries], its error by leaving out a block of queries at a
        time (the jackknife)."""
        count = shares.shape[1]
        least = 0.5 / (self.k * count)  # below what the queries resolve
        distance = np.log(self.rows / np.array(self.sizes))

        def at_rows(part: NDArray[np.float64]) -> float:
            means = np.clip(part.mean(axis=1), least, 1 - least)
            if len(means) == 1 or self.rows == self.sizes[0]:
                return float(part[0].mean())
            odds = [_log_odds(mean) for mean in means]
            slope = max(float(np.polyfit(distance, odds, 1)[0]), 0.0)  # recall does not rise with rows
            return _recall(odds[0] - slope * float(distance[0]))

        blocks = np.array_split(np.arange(count), min(_BLOCKS, count))
        left = np.array([at_rows(np.delete(shares, block, axis=1)) for block in blocks])
        variance = (len(left) - 1) * float(np.mean((left - left.mean()) ** 2))
        return Predicted(at_rows(shares), max(float(np.sqrt(variance)), least))


def probe(train: Floats, widths: tuple[int, ...], metric: str, seed: int) -> Binarizer:
    """The recipe of :func:`bebr.train`, cut short."""
    return fit_linear(train, widths, metric, seed, rounds=_ROUNDS)
