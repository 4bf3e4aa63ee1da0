"""Maximal marginal relevance (Carbonell and Goldstein 1998): hits that are near the query and not all alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def most_diverse(query: ArrayLike, vectors: ArrayLike, k: int, relevance: float) -> list[int]:
    """Rows of ``vectors`` float32[n, d], at most ``k``, the best first: each is the one with the largest ``relevance``
    times its cosine to ``query`` float32[d], less (1 - relevance) times its largest cosine to those before it.

    relevance: from 0, only unlike those before, to 1, the nearest ones. ``ValueError`` beyond.
    """
    if not 0 <= relevance <= 1:
        raise ValueError(f"relevance is {relevance!r}: want 0 to 1")
    wanted = _unit(np.asarray(query, np.float64).reshape(1, -1))
    rows = _unit(np.asarray(vectors, np.float64).reshape(-1, wanted.shape[1]))
    near = rows @ wanted[0]
    alike = np.full(len(rows), -np.inf)
    chosen: list[int] = []
    while len(chosen) < min(k, len(rows)):
        gain = near if not chosen else relevance * near - (1 - relevance) * alike
        gain = gain.copy()
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        alike = np.maximum(alike, rows @ rows[chosen[-1]])
    return chosen


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
