"""The code alphabet in numpy, for training: values v_j = sum_t 2^-t r_tj (docs/method.md, "Codes"). The engine
does this in C++."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats


def depths(widths: Sequence[int]) -> NDArray[np.int64]:
    """Planes that cover each dimension, int64[m]."""
    return np.array([sum(j < w for w in widths) for j in range(widths[0])], np.int64)


def quantize(z: Floats, widths: Sequence[int]) -> Floats:
    """The nearest code values float32[n, m] of z float32[n, m], in code units: what successive approximation gives."""
    levels = np.exp2(depths(widths) - 1).astype(np.float32)
    odd = np.clip(2 * np.floor(z * levels / 2) + 1, 1 - 2 * levels, 2 * levels - 1)
    result: Floats = odd / levels
    return result


def signs(v: Floats) -> Floats:
    """The sign plane of code values, +-1."""
    return np.where(v >= 0, np.float32(1), np.float32(-1))
