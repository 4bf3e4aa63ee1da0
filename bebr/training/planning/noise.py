"""From a spectrum to recall, without training anything: how large the errors of scores will be, and how many of the
true neighbours keep their places under errors of that size.

A code replaces x by x - e, so the score of a query is off by <r, e>, where r is the part of q that the stored factor
does not mend: q without its component along x for cosine and ip, q - x for l2. The spectrum and the allocation of bits
give the variance of e along every principal direction; neighbours of held-out queries give the size of r there.
The absolute size is off by what the recipe gains over a rounding of Gaussians, so measurements calibrate it
(:mod:`bebr.training.planning.planner`).
"""

from __future__ import annotations

import numpy as np

from bebr.arrays import Floats
from bebr.exact import exact
from bebr.training.linear.closed_form import GAUSSIAN_ERROR, Floats64, spectrum

_QUERIES = 256
_DEPTH = 2_048  # ranks that may displace a neighbour; those further down hardly ever do
_BISECTIONS = 30


class NoiseModel:
    """What errors of scores do to recall@k on one sample of the data."""

    def __init__(self, train: Floats, base: Floats, queries: Floats, metric: str, k: int, seed: int) -> None:
        """Vectors float32[any, d], normalised already for cosine; k <= len(base)."""
        _, self.values, vectors = spectrum(train)
        self.k = k
        queries = queries[:_QUERIES]
        near = exact(base, queries, min(_DEPTH, len(base)), metric)
        self._scores = np.empty(near.shape, np.float64)
        energy = np.zeros(len(self.values))
        for row, ids in enumerate(near):
            q, x = queries[row].astype(np.float64), base[ids].astype(np.float64)
            products, norms = x @ q, np.einsum("ij,ij->i", x, x)
            self._scores[row] = products - norms / 2 if metric == "l2" else products
            x, products, norms = x[:k], products[:k], norms[:k]
            along = np.ones(k) if metric == "l2" else products / np.where(norms > 0, norms, 1)
            energy += np.square((q - along[:, None] * x) @ vectors).mean(axis=0)
        self._energy: Floats64 = energy / len(queries)
        self._draws = np.random.default_rng(seed).standard_normal(near.shape)

    def noise(self, widths: tuple[int, ...]) -> float:
        """Standard deviation of a score's error under these planes, as far as Gaussian theory goes."""
        values = np.zeros(max(widths[0], len(self.values)))
        values[: len(self.values)] = self.values
        depth = np.array([sum(j < w for w in widths) for j in range(len(values))])
        variance = 0.0
        for b in np.unique(depth):
            group = depth == b
            # Directions of equal depth are rotated among each other, so they share their errors.
            shared = values[group].mean() * GAUSSIAN_ERROR[b]
            variance += float(shared * self._energy[group[: len(self.values)].nonzero()[0]].sum())
        return float(np.sqrt(variance))

    def recall(self, noise: float) -> float:
        """Share of the true k nearest that are among the k best after Gaussian errors of this deviation."""
        noisy = self._scores + noise * self._draws
        if noisy.shape[1] == self.k:
            return 1.0
        kth = np.partition(noisy, -self.k, axis=1)[:, -self.k]
        return float((noisy[:, : self.k] >= kth[:, None]).mean())

    def noise_for(self, recall: float) -> float:
        """The deviation that leaves this recall: the inverse of :meth:`recall`."""
        spread = float((self._scores[:, 0] - self._scores[:, -1]).mean())
        low, high = -20.0, 10.0  # powers of two of the spread of scores
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.recall(spread * 2.0**middle) > recall else (low, middle)
        return max(float(spread * 2.0**high), float(np.finfo(np.float32).tiny))  # above 0: logarithms are taken of it
