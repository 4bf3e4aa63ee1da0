"""A binarizer before there is any data: a random rotation and the best uniform quantizer of a Gaussian.

A rotated vector has coordinates that are alike and near Gaussian, whatever the data (RaBitQ, arXiv 2405.12497, and
TurboQuant, arXiv 2504.19874, rest on the same). So steps follow from J. Max's table, without a look at a vector.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bebr.arrays import check_dim, check_length, check_seed, check_whole
from bebr.binarizer import Binarizer
from bebr.binarizer.config import FIRST_STAGE_ROWS, METRICS
from bebr.threads import blas_threads
from bebr.training.linear.closed_form import GAUSSIAN_STEP, Floats64, allocate, random_rotation
from bebr.training.linear.grid import depths
from bebr.training.linear.shrinkage import NO_TRUST, TRUST
from bebr.training.linear.widths import FACTOR_BYTES, check_bytes

# Rows that a search completes after the sign plane: nothing is measured, so more than either set of
# docs/experiments/few-rows.md needs.
_FIRST_STAGE = {"rows": 1500, "of": 10_000}
_MARGIN = 4.0  # for the same reason


def untrained(
    dim: int, bytes_per_vector: int, *, metric: str = "cosine", norm: float = 1.0, seed: int = 0
) -> Binarizer:
    """A binarizer without training data, in milliseconds: a random rotation and uniform steps.

    >>> bz = bebr.untrained(384, 52)

    From a few dozen vectors on, :func:`bebr.train` recalls more; it is never worse (docs/experiments/few-rows.md).

    dim: d, 1 to 4096. If it is not a multiple of 8, vectors are rotated into the next wider space.
    bytes_per_vector: bytes stored per vector, two bytes of factor included. All dimensions get equally many bits, as
        far as the bytes suffice.
    metric: ``"cosine"``, ``"ip"`` or ``"l2"``.
    norm: for ``"ip"`` and ``"l2"``, the expected length of vectors, which sets the steps. Vectors ten times as long are
        clipped; of vectors a tenth as long only the signs remain. For l2 give the length around the data's mean, if
        known. ``"cosine"`` scales vectors to length 1.
    seed: of the rotation.
    Raises ``ValueError``, which names the argument.
    """
    dim = check_dim(dim, "dim")
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}: want one of {', '.join(METRICS)}")
    if isinstance(norm, bool | str) or not (math.isfinite(norm) and norm > 0):
        raise ValueError(f"norm is {norm!r}: want a finite number above 0")
    if metric == "cosine" and norm != 1:
        raise ValueError(f"norm is {norm!r}: want 1 with metric='cosine', which scales vectors to that length")
    check_length(norm, "norm")
    size = check_bytes(check_whole(bytes_per_vector, "bytes_per_vector"), dim)
    check_seed(seed)
    whole = 8 * -(-dim // 8)
    widths = untrained_widths(dim, size)

    with blas_threads(1):  # more of them wait for each other on a busy machine
        rotation = random_rotation(whole, np.random.default_rng(seed), widths[0])[:dim].T  # [m, d]
    deviation = norm * np.linalg.norm(rotation, axis=1) / math.sqrt(dim)  # of each coordinate
    depth = depths(widths)
    # Neighbouring values of a code are 2^(2 - depth) apart.
    scale = np.array(GAUSSIAN_STEP)[depth] * deviation / np.exp2(2.0 - depth)
    named: dict[str, Floats64] = {"encoder.0.weight": rotation / scale[:, None], "encoder.0.bias": np.zeros(widths[0])}
    named |= {"decoder.weight": rotation * scale[:, None], "decoder.bias": np.zeros(dim)}
    if len(widths) > 1:
        # A vector's product with its signs is to be about that with its whole code, so that the sign plane does not
        # score near rows too low. Signs that stand for the mean of a Gaussian, sqrt(2 / pi) deviations, have 2 / pi of
        # it, and single queries of lists lost .1 to .55 of the ten best by them (docs/experiments/few-rows.md).
        named |= {"stage.weight": rotation * (math.sqrt(math.pi / 2) * deviation)[:, None], "stage.bias": np.zeros(dim)}
    config: dict[str, Any] = {"architecture": "linear", "widths": widths, "metric": metric, "input_dim": dim}
    config |= {"seed": seed, TRUST: NO_TRUST.to_json(), FIRST_STAGE_ROWS: _FIRST_STAGE, "margin": _MARGIN}
    if metric == "l2":
        config |= _squared_norms(norm, dim)
    return Binarizer(named, config)


def untrained_widths(dim: int, bytes_per_vector: int) -> tuple[int, ...]:
    """Planes of a code of so many bytes: equally many bits for every dimension, as far as the bytes go."""
    return allocate(np.ones(8 * -(-dim // 8)), 8 * (bytes_per_vector - FACTOR_BYTES))


def _squared_norms(norm: float, dim: int) -> dict[str, float]:
    """Scale and offset of l2's factor. Squared lengths of d Gaussian coordinates deviate by norm^2 sqrt(2 / d); such
    deviations land round 1, and fp16 holds 65,504 of them."""
    return {"factor_offset": norm**2, "factor_scale": float(2.0 ** round(-math.log2(norm**2 * math.sqrt(2 / dim))))}
