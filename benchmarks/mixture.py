"""Vectors without end that look like real embeddings: a Gaussian mixture with the centres, weights and spectra of
WordNet's MiniLM vectors, made block by block from (seed, block), so that any row can be made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bebr.index.kmeans import kmeans, nearest
from benchmarks import datasets

__all__ = ["BLOCK", "Mixture"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

BLOCK = 4096  # rows that share a seed: what it costs to make one row again
_BATCH = 1 << 16
_CENTERS = 1024
# A centre's own spectrum is that of about a hundred vectors: it is drawn towards the spectrum all share as if by this
# many more.
_PRIOR = 100
_QUERIES = 1 << 40  # the number of the block that queries come from, past all others


@dataclass(frozen=True)
class Mixture:
    """``centers`` float32 [k, d], ``scales`` float32 [k, d] (standard deviations) and ``weights`` float64 [k], in the
    space of the leading d principal components; rows come out with unit length."""

    centers: Floats
    scales: Floats
    weights: npt.NDArray[np.float64]
    seed: int = 0

    @property
    def dim(self) -> int:
        return self.centers.shape[1]

    @staticmethod
    def fitted(dim: int, path: Path, seed: int = 0) -> Mixture:
        """Fitted to the base vectors of ``wordnet`` in ``dim`` dimensions; kept in ``path``."""
        if not path.exists():
            x = datasets.load("wordnet").base
            middle = x.mean(axis=0)
            values, axes = np.linalg.eigh(np.cov((x - middle).T))
            axes = np.ascontiguousarray(axes[:, np.argsort(-values)[:dim]], np.float32)
            made = Mixture.of(x @ axes, min(_CENTERS, len(x) // 8), seed)
            np.savez(path, centers=made.centers, scales=made.scales, weights=made.weights)
        with np.load(path) as kept:
            return Mixture(kept["centers"], kept["scales"], kept["weights"], seed)

    @staticmethod
    def of(x: Floats, count: int, seed: int) -> Mixture:
        """The mixture of ``count`` Gaussians, each with a diagonal covariance, nearest to ``x`` float32 [n, d]."""
        centers = kmeans(x, count, seed)
        of = nearest(x, centers)
        sizes = np.bincount(of, minlength=count)
        squares = (x - centers[of]) ** 2
        shared = squares.mean(axis=0, dtype=np.float64)
        sums = np.zeros((count, x.shape[1]))
        np.add.at(sums, of, squares)
        variances = (sums + _PRIOR * shared) / (sizes[:, None] + _PRIOR)
        return Mixture(centers, np.sqrt(variances).astype(np.float32), sizes / sizes.sum(), seed)

    def blocks(self, start: int) -> Iterator[Floats]:
        """float32 [m, d] of rows ``start``, ``start + 1``, ... without end."""
        number, skip = divmod(start, BLOCK)
        out = np.empty((_BATCH, self.dim), np.float32)
        while True:
            for i in range(_BATCH // BLOCK):
                self._make(number + i, out[i * BLOCK : (i + 1) * BLOCK])
            yield out[skip:].copy() if skip else out
            number, skip, out = number + _BATCH // BLOCK, 0, np.empty((_BATCH, self.dim), np.float32)

    def rows(self, ids: Ids) -> Floats:
        """The vectors of some rows, made again."""
        found = np.empty((len(ids), self.dim), np.float32)
        order = np.argsort(ids // BLOCK, kind="stable")
        block, made = np.empty((BLOCK, self.dim), np.float32), -1
        for i in order.tolist():
            if ids[i] // BLOCK != made:
                made = int(ids[i] // BLOCK)
                self._make(made, block)
            found[i] = block[ids[i] % BLOCK]
        return found

    def queries(self, count: int) -> Floats:
        """``count`` vectors, at most 4096, that are no rows."""
        block = np.empty((BLOCK, self.dim), np.float32)
        self._make(_QUERIES, block)
        return block[:count].copy()

    def _make(self, number: int, out: Floats) -> None:
        chance = np.random.Generator(np.random.SFC64(np.random.SeedSequence((self.seed, number))))
        which = np.searchsorted(np.cumsum(self.weights), chance.random(len(out), np.float32) * 0.9999999)
        chance.standard_normal(dtype=np.float32, out=out)
        out *= self.scales[which]
        out += self.centers[which]
        out /= np.sqrt(np.einsum("ij,ij->i", out, out))[:, None]
