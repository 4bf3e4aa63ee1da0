"""Maps from one model's space into another's: ridge regression, then gradient steps where torch is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from bebr.arrays import Floats, normalized
from bebr.exact import recall, similarity, top
from bebr.training.compat.problem import SHARES, Problem, Weights
from bebr.training.linear.closed_form import Progress

DEPTH = 10
MOST_QUERIES, MOST_BASE = 1_000, 16_384
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean diagonal; the best on held-out rows is kept


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
                found.append(share * recall(ids, truth))
        return float(np.sum(found)) / len(problem.inputs)

    return score


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
    """The best map on held-out rows; its agreement there, and that of the ridge regression it started from.

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
