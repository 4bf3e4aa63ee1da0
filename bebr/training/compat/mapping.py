"""Maps from one model's space into another's: ridge regression, then gradient steps where torch is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bebr.arrays import Floats, Ids, normalized
from bebr.training.linear.closed_form import Progress

SHARES = (
    0.25,
    0.75,
)  # of the new and the old producer's neighbourhoods (bebr/training/compat/compatible.py has the figures)
DEPTH = 10
MOST_QUERIES, MOST_BASE = 1_000, 16_384
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean diagonal; the best on held-out rows is kept


@dataclass(frozen=True)
class Problem:
    """What a map is to do: bring rows of ``inputs`` to where they score ``fixed`` as the new model scores its own.

    inputs: float32[n, d] each, two views of the same items (a query is mapped as a float or as its decoded code).
    target: float32[n, e], where regression sends them. fixed: float32[n, e], the other side of every score: frozen
    codes of documents where queries are mapped, queries where documents are.
    teachers: float32[n, t] each, the new and the old producer's vectors of the same items, whose neighbourhoods are the
    aim, in parts of SHARES.
    side: which side of a score the map makes. metric: of all scores. unit: outputs are scaled to unit length.
    held: int64[h], rows for choosing only. kept: the rest.
    """

    name: str
    inputs: tuple[Floats, ...]
    target: Floats
    fixed: Floats
    teachers: tuple[Floats, Floats]
    side: Literal["query", "document"]
    metric: str
    unit: bool
    held: Ids
    kept: Ids


@dataclass(frozen=True)
class Weights:
    """x -> x @ linear + bias, plus a ReLU network given by its (weight [out, in], bias) layers, if any."""

    linear: Floats
    bias: Floats
    layers: tuple[tuple[Floats, Floats], ...] = ()

    def __call__(self, x: Floats) -> Floats:
        y, h = x @ self.linear + self.bias, x
        for i, (weight, bias) in enumerate(self.layers):
            h = (np.maximum(h, 0) if i else h) @ weight.T + bias
        return np.asarray(y + h if self.layers else y, np.float32)

    def tensors(self, prefix: str) -> dict[str, Floats]:
        """Under the names of :class:`bebr.binarizer.maps.Map`."""
        named = {f"{prefix}.linear.0.weight": self.linear.T, f"{prefix}.linear.0.bias": self.bias}
        for i, (weight, bias) in enumerate(self.layers):
            named[f"{prefix}.{i}.weight"], named[f"{prefix}.{i}.bias"] = weight, bias
        return named


def similarity(queries: Any, documents: Any, metric: str) -> Any:
    """[q, d] of rows, arrays or tensors; for l2 the squared distance, negative and less the query's own length."""
    products = queries @ documents.T
    return 2 * products - (documents * documents).sum(1) if metric == "l2" else products


def agreement(problem: Problem) -> Callable[[Callable[[Floats], Floats]], float]:
    """Share of the teachers' ten nearest neighbours that a map finds, over held-out rows: mean over views."""
    queries, base = problem.held[:MOST_QUERIES], problem.kept[:MOST_BASE]
    depth = min(DEPTH, len(base))
    truths = [top(similarity(t[queries], t[base], problem.metric), depth) for t in problem.teachers]

    def score(mapped: Callable[[Floats], Floats]) -> float:
        rows = queries if problem.side == "query" else base
        found = []
        for view in problem.inputs:
            made = mapped(view[rows])
            made = normalized(made) if problem.unit else made
            left, right = (made, problem.fixed[base]) if problem.side == "query" else (problem.fixed[queries], made)
            ids = top(similarity(left, right, problem.metric), depth)
            for truth, share in zip(truths, SHARES, strict=True):
                shared = [len(np.intersect1d(a, b)) for a, b in zip(ids, truth, strict=True)]
                found.append(share * np.mean(shared) / depth)
        return float(np.sum(found)) / len(problem.inputs)

    return score


def top(scores: Floats, depth: int) -> Ids:
    """Columns of the ``depth`` highest scores of each row, in no order."""
    return np.asarray(np.argpartition(-scores, depth - 1, axis=1)[:, :depth], np.int64)


def ridge_map(problem: Problem, score: Callable[[Callable[[Floats], Floats]], float]) -> tuple[Weights, float]:
    """Ridge regression of the target on all views together, with the penalty that does best on held-out rows."""
    x = np.concatenate([view[problem.kept] for view in problem.inputs])
    y = np.tile(problem.target[problem.kept], (len(problem.inputs), 1))
    x_mean, y_mean = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    gram, cross = np.zeros((x.shape[1], x.shape[1])), np.zeros((x.shape[1], y.shape[1]))
    for start in range(0, len(x), 8192):
        block = x[start : start + 8192] - x_mean
        gram += block.T @ block
        cross += block.T @ (y[start : start + 8192] - y_mean)
    values, vectors = np.linalg.eigh(gram)
    values, rotated = np.maximum(values, 0), vectors.T @ cross
    best: tuple[Weights, float] | None = None
    for penalty in _RIDGES:
        shrunk = values + penalty * max(float(values.mean()), 1e-30)
        linear = vectors @ (rotated / shrunk[:, None])
        weights = Weights(linear.astype(np.float32), (y_mean - x_mean @ linear).astype(np.float32))
        reached = score(weights)
        if best is None or reached > best[1]:
            best = weights, reached
    assert best is not None
    return best


def fit_map(
    problem: Problem, seed: int, epochs: int, hidden: int, progress: Progress
) -> tuple[Weights, dict[str, float]]:
    """The best map on held-out rows, and what it reached there beside the ridge regression it started from.

    Without torch a ``UserWarning`` says that the gradient part is left out.
    """
    score = agreement(problem)
    start, reached = ridge_map(problem, score)
    facts = {"ridge": reached, "end": reached}
    if epochs == 0:
        return start, facts
    try:
        from bebr.training.compat.descend_map import descend
    except ModuleNotFoundError as e:
        warnings.warn(
            f"{e.name} is absent, so the {problem.name} to the old model is a ridge regression only (held-out "
            f"agreement {reached:.3f}): pip install 'bebr[train]' trains it further",
            UserWarning,
            stacklevel=5,
        )
        return start, facts
    weights, facts["end"] = descend(problem, start, reached, score, seed, epochs, hidden, progress)
    return weights, facts
