"""Few rows: how far their mean and covariance are trusted, and rows that stand for the rest.

n rows say little of d^2 covariances: along their own principal directions they vary more, and in all others less, than
rows to come. A code fitted to them alone is worse than one of unknown data. So their moments are shrunk towards what is
assumed of that, mean 0 and equal variance in every direction:

* the mean as James and Stein do, "Estimation with quadratic loss", Proc. 4th Berkeley Symp. 1961, positive part;
* the variance along each principal direction is that of rows which had no part in finding it (Lam, "Nonparametric
  eigenvalue-regularized precision or covariance matrix estimator", Annals of Statistics 44, 2016), in folds and made
  monotone (Bartz, "Cross-validation based nonlinear shrinkage", arXiv 1611.00798).

The recipe then sees the rows, and Gaussian ones of the shrunk moments. One share for all directions (OAS, Ledoit
and Wolf) trusts the weak ones too far (docs/experiments/few-rows.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from bebr.arrays import Floats
from bebr.training.linear.closed_form import Floats64, Spectrum, eigen, spectrum

TRUST = "trust"  # the key of a binarizer's config

_FEW = 4  # rows a dimension: with more, the shares below are near 1
_FOLDS = 5
_DRAWN, _DRAWN_PER_DIM = 4096, 8  # Gaussian rows, the larger of the two
_BLOCK = 4096  # rows that are multiplied at a time
_NOTHING = 1e-10  # of the largest variance: rounding
_PRIOR_ROWS = 3  # what mean 0 counts for: the first rows of a collection may be copies, which deviate from nothing


@dataclass(frozen=True)
class Trust:
    """How far a model follows its training data: the number of ``rows``, and the shares, 0 to 1, of their ``mean`` and
    of the unevenness of their ``covariance`` that are left after shrinkage. 0: the model is that of unknown data."""

    rows: int
    mean: float
    covariance: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


NO_TRUST = Trust(0, 0.0, 0.0)


def are_few(x: Floats) -> bool:
    """Whether rows float32[n, d] are too few to be trusted alone."""
    return bool(len(x) < _FEW * x.shape[1])


def filled_up(x: Floats, metric: str, seed: int) -> tuple[Floats, Trust]:
    """Few rows float32[n, d], n >= 1, with max(4096, 8 d) Gaussian ones behind them; and how far they were trusted."""
    n, d = x.shape
    rng = np.random.default_rng(seed)
    mean, own, directions = _spanned(x)
    energy, trace = float(np.square(x, dtype=np.float64).sum()) / n, float(own.sum()) * n / max(n - 1, 1)
    kept = _kept(float(mean @ mean), trace, n, metric)
    mean = kept * mean
    variances = _held_out_variances(x[rng.permutation(n)])
    left = max(energy - float(mean @ mean), trace)  # what shrinkage took from the mean is variance
    drawn = _drawn(rng, max(_DRAWN, _DRAWN_PER_DIM * d), mean, left * variances, directions)
    trust = Trust(n, kept, min(_unevenness(variances) / max(_unevenness(own), 1e-30), 1.0))
    return np.concatenate([x, drawn]), trust


def _spanned(x: Floats) -> Spectrum:
    """As :func:`spectrum`, but for the eigenvectors [d, r]: those r that the rows span, n - 1 at most. For n <= d they
    come from the n x n products of the rows, of which few take milliseconds in any number of dimensions."""
    n, d = x.shape
    if n > d:
        return spectrum(x)
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    own, shares = eigen(centred @ centred.T)
    r = min(int(np.count_nonzero(own > _NOTHING * own[0])), n - 1)
    values = np.zeros(d)
    values[:r] = own[:r] / n
    return Spectrum(mean, values, centred.T @ (shares[:, :r] / np.sqrt(own[:r])))


def _drawn(rng: np.random.Generator, count: int, mean: Floats64, variances: Floats64, directions: Floats64) -> Floats:
    """Gaussian rows float32[count, d] whose own mean is `mean` and whose own variances are these along `directions`
    [d, r]; in all others the last of them. As they are drawn, 4,096 rows of 384 dimensions vary by .5 to 1.7 in every
    direction, and bits would follow that."""
    d, r = directions.shape
    drawn = rng.standard_normal((count, d), np.float32)
    centre, covariance = drawn.mean(axis=0, dtype=np.float64).astype(np.float32), np.zeros((d, d))
    drawn -= centre
    for start in range(0, count, _BLOCK):
        block = drawn[start : start + _BLOCK]
        covariance += block.T @ block
    whitening = np.linalg.inv(np.linalg.cholesky(covariance / count)).T
    spread = np.sqrt(variances)
    colouring = (directions * (spread[:r] - spread[-1])) @ directions.T + spread[-1] * np.eye(d)
    change = (whitening @ colouring).astype(np.float32)
    for start in range(0, count, _BLOCK):
        block = drawn[start : start + _BLOCK]
        block[:] = block @ change + mean
    return drawn


def _kept(length: float, trace: float, n: int, metric: str) -> float:
    """The share of a mean of n rows, of that squared length, that stays; its squared error is trace / n. One row cannot
    be told from its mean. Squared distances know no origin, so there the mean stays as it is."""
    if n == 1 or length <= 0:
        return 0.0
    return 1.0 if metric == "l2" else max(0.0, 1 - trace / n / length) * n / (n + _PRIOR_ROWS)


def _held_out_variances(x: Floats) -> Floats64:
    """float64[d], descending, of sum 1: the share of the variance of rows that lies along each principal direction of
    other rows. Directions that these do not span share alike. x: float32[n, d] in random order."""
    n, d = x.shape
    energy = np.zeros(d)
    for fold in range(_FOLDS if n > 2 else 0):
        rest = np.delete(x, slice(fold, None, _FOLDS), axis=0)
        mean, _, directions = _spanned(rest)
        other = x[fold::_FOLDS] - mean
        along, spanned = np.square(other @ directions).sum(axis=0), directions.shape[1]
        energy[:spanned] += along
        if spanned < d:
            energy[spanned:] += max(float(np.square(other).sum() - along.sum()), 0.0) / (d - spanned)
    if not energy.sum() > 0:
        return np.full(d, 1 / d)
    return _monotone(energy / energy.sum())


def _monotone(values: Floats64) -> Floats64:
    """The nearest descending sequence: neighbours in the wrong order become their mean."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        pool, count = value, 1
        while pools and pools[-1][0] < pool:
            before, size = pools.pop()
            pool, count = (before * size + pool * count) / (size + count), size + count
        pools.append((pool, count))
    return np.repeat([pool for pool, _ in pools], [count for _, count in pools])


def _unevenness(variances: Floats64) -> float:
    """0 for equal variances; it does not depend on their unit."""
    total = max(float(variances.sum()), 1e-30)
    return float(np.linalg.norm(variances / total - 1 / len(variances)))
