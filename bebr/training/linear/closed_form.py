"""The closed form: no gradient, no iteration over the data but a few Lloyd steps. Every recipe starts from it
(docs/method.md).

PCA; bits allocated greedily by what each would save of a score's error; a random rotation inside every group of
dimensions with equal bits, so that their marginals are alike and near Gaussian; the step of each code dimension by
Lloyd's iteration; last the decoder, by ridge regression on the codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats
from bebr.threads import blas_threads
from bebr.training.linear.grid import quantize, signs

Floats64 = NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # stage, done, total

# Mean squared error of the best uniform quantizer of a unit Gaussian with 0..8 bits, and its step (J. Max,
# "Quantizing for minimum distortion", IRE Trans. Inf. Theory 1960, table II; 6-8 bits recomputed by the same
# conditions).
GAUSSIAN_ERROR = (1.0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001041, 0.0003035, 0.0000869)
GAUSSIAN_STEP = (0.0, 1.5958, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308)

# Bits are allocated by eigenvalue^1.25 rather than by eigenvalue (plain squared error): it recalls more, and narrows
# the sign plane, so the scan reads less (docs/experiments/bit-allocation.md).
ALLOCATION_POWER = 1.25

_MAX_PLANES = 8
_LLOYD_STEPS = 8
_RIDGE = 1e-4  # of the mean diagonal


class Spectrum(NamedTuple):
    """Mean [d], eigenvalues [d] (descending) and eigenvectors [d, d] (columns) of the covariance of rows."""

    mean: Floats64
    values: Floats64
    vectors: Floats64


@dataclass(frozen=True)
class ClosedForm:
    """What the fit found, in float64: z = encoder @ x + bias in code units; xhat = mean + v @ decoder."""

    encoder: Floats64  # [m, d]
    bias: Floats64  # [m]
    decoder: Floats64  # [m, d]
    mean: Floats64  # [d]
    stage_decoder: Floats64  # [m, d], for the sign plane alone
    stage_mean: Floats64  # [d]
    spectrum: Spectrum  # of the rows that it was fitted to


def spectrum(x: Floats) -> Spectrum:
    """Of vectors float32[n, d]; the covariance is summed in float64 by blocks."""
    n, d = x.shape
    mean = x.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((d, d))
    for start in range(0, n, 8192):
        block = x[start : start + 8192] - mean
        covariance += block.T @ block
    return Spectrum(mean, *eigen(covariance / max(n, 1)))


def eigen(symmetric: Floats64) -> tuple[Floats64, Floats64]:
    """Eigenvalues [n] (descending, at least 0) and eigenvectors [n, n] (columns). By one thread: two spin while they
    wait for each other, and take two to three times as long beside other work (1,536 dimensions)."""
    with blas_threads(0):
        values, vectors = np.linalg.eigh(symmetric)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def allocate(values: Floats64, bits: int) -> tuple[int, ...]:
    """Plane widths (multiples of 8, sum ``bits``) that give each bit where it saves most of the error of a score.

    values: eigenvalues, descending. An error e along a direction moves a score by <q, e>, and queries spread as the
    data does, so errors weigh more where the eigenvalue is large (ALLOCATION_POWER). Bits are allocated eight
    dimensions at a time; directions without variance get some only when nothing else is left to improve.
    """
    units = -(-len(values) // 8)
    energy = np.zeros(units * 8)
    energy[: len(values)] = values**ALLOCATION_POWER
    energy = energy.reshape(units, 8).sum(axis=1)
    depth = np.zeros(units, np.int64)
    saving = np.append(-np.diff(GAUSSIAN_ERROR), 0.0)
    most = units * 8 * _MAX_PLANES
    if bits % 8 or not 8 <= bits <= most:
        raise ValueError(f"a code of {bits} bits for {len(values)} dimensions: want a multiple of 8 from 8 to {most}")
    for _ in range(bits // 8):
        gain = np.where(depth < _MAX_PLANES, energy * saving[depth], -1.0)
        depth[int(np.argmax(gain))] += 1
    depth = np.sort(depth)[::-1]  # ties of equal energy may come out of order
    return tuple(int(8 * np.count_nonzero(depth > t)) for t in range(int(depth[0])))


def fit(
    x: Floats,
    widths: tuple[int, ...],
    seed: int,
    progress: Progress | None = None,
    *,
    known: Spectrum | None = None,
) -> ClosedForm:
    """Fit to vectors float32[n, d] (already normalised for cosine). widths: see :func:`allocate`. known: the spectrum
    of x, which takes longer than all else from some 1,000 dimensions on."""
    rng = np.random.default_rng(seed)
    d, m = x.shape[1], widths[0]
    report = progress or (lambda stage, done, total: None)
    report("closed form", 0, 4)
    own = spectrum(x) if known is None else known
    mean, values, vectors = own
    scale: Floats64
    if m > d:  # more code dimensions than the data has: the extra ones only rotate the last group
        vectors = np.hstack([vectors, np.zeros((d, m - d))])
        values = np.append(values, np.zeros(m - d))
    report("closed form", 1, 4)

    basis = vectors[:, :m].copy()  # columns: directions of code dimensions
    depth = np.array([sum(j < w for w in widths) for j in range(m)])
    variance = np.empty(m)
    for b in np.unique(depth):
        group = np.flatnonzero(depth == b)
        basis[:, group] = basis[:, group] @ random_rotation(len(group), rng)
        variance[group] = values[group].mean()
    # Step of the uniform grid in code units: neighbouring values of v are 2^(2 - depth) apart.
    floor = 1e-12 * max(float(values[0]), 1e-30)
    gaussian_step = np.array([GAUSSIAN_STEP[b] for b in depth])
    scale = gaussian_step * np.sqrt(np.maximum(variance, floor)) / np.exp2(2.0 - depth)

    rotated = ((x - mean) @ basis).astype(np.float32)
    report("closed form", 2, 4)
    for _ in range(_LLOYD_STEPS):
        v = quantize(np.asarray(rotated / scale, np.float32), widths)
        best = np.einsum("ij,ij->j", rotated, v, dtype=np.float64) / np.einsum("ij,ij->j", v, v, dtype=np.float64)
        scale = np.maximum(best, np.sqrt(floor))
    report("closed form", 3, 4)

    encoder = (basis / scale).T
    v = quantize(np.asarray(rotated / scale, np.float32), widths)
    decoder, decoder_mean = ridge(v, x)
    stage, stage_mean = ridge(signs(v), x)
    report("closed form", 4, 4)
    return ClosedForm(encoder, -encoder @ mean, decoder, decoder_mean, stage, stage_mean, own)


def random_rotation(n: int, rng: np.random.Generator, columns: int | None = None) -> Floats64:
    """An orthogonal matrix [n, n] from the uniform (Haar) distribution, or only so many of its columns."""
    q, r = np.linalg.qr(rng.standard_normal((n, n if columns is None else columns)))
    result: Floats64 = q * np.sign(np.diag(r))
    return result


def ridge(v: Floats, x: Floats) -> tuple[Floats64, Floats64]:
    """Least squares of x [n, d] on v [n, m] with intercept: (weights [m, d], intercept [d])."""
    n, m = v.shape
    v_mean, x_mean = v.mean(axis=0, dtype=np.float64), x.mean(axis=0, dtype=np.float64)
    v_centre, x_centre = v_mean.astype(np.float32), x_mean.astype(np.float32)
    gram, cross = np.zeros((m, m)), np.zeros((m, x.shape[1]))
    # Products of a block in float32, their sums in float64: four times as fast, and the ridge is far above the error.
    for start in range(0, n, 4096):
        block = v[start : start + 4096] - v_centre
        gram += block.T @ block
        cross += block.T @ (x[start : start + 4096] - x_centre)
    gram[np.diag_indices(m)] += _RIDGE * max(float(np.trace(gram)) / m, 1e-30)
    weights = np.asarray(np.linalg.solve(gram, cross), np.float64)
    return weights, np.asarray(x_mean - v_mean @ weights, np.float64)
