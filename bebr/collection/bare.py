"""Bare rows: those without a vector. No search by vector finds them; everything else does.

Inside bebr a row of NaN among vectors stands for none. It cannot come from a caller: NaN in a vector is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, as_vectors

VectorsLike = ArrayLike | Sequence[ArrayLike | None] | None
"""n vectors, None in a list for a row without one; None alone: no row has one."""


def as_rows(x: VectorsLike, count: int, dim: int) -> Floats:
    """``x`` as float32[n, dim], NaN for the rows without a vector; ``count``: n where ``x`` is None. ``ValueError`` as
    of `as_vectors`."""
    none: list[int] = []
    given: Any = x
    if x is None:
        none, given = list(range(count)), np.zeros((count, dim), np.float32)
    elif isinstance(x, list | tuple) and (none := [row for row, vector in enumerate(x) if vector is None]):
        given = [np.zeros(dim, np.float32) if vector is None else vector for vector in x]
    vectors = as_vectors(given, "x", dim)
    if none:
        vectors[none] = np.nan
    return vectors


def spread(vectors: Floats, none: Sequence[int], count: int) -> Floats:
    """The vectors float32[m, dim] of those of ``count`` rows that have one, as float32[count, dim]; NaN for the rows
    ``none``. ``ValueError`` unless these are ascending, below ``count``, and all others have a vector."""
    rows = np.array(none, np.int64)
    if len(vectors) + len(rows) != count:
        raise ValueError(
            f"ids has {count} entries, x {len(vectors)} rows and without_vector {len(rows)}: want one id per row"
        )
    if len(rows) and ((np.diff(rows) <= 0).any() or rows[-1] >= count):
        raise ValueError(f"without_vector is not of different rows below {count}, in ascending order")
    if len(rows) == 0:
        return vectors
    made = np.full((count, vectors.shape[1]), np.nan, np.float32)
    made[np.delete(np.arange(count), rows)] = vectors
    return made


def bare_rows(vectors: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """Which rows of vectors [n, dim] have none, bool[n]; None where all have one."""
    bare: NDArray[np.bool_] = np.isnan(vectors[:, 0])
    return bare if bare.any() else None
