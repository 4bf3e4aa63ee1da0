"""Checks of arrays that come from outside: one place, so that every message names the argument, what was got and
wanted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr import core

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_MAX_DIM = 4096
# Of vectors that are not scaled to unit length: squares of these, and what differs between squares, are float32.
_LENGTHS = (1e-16, 1e16)
_MOST = float(np.finfo(np.float32).max)
# Sums of squares below it lose what float32 cannot hold; rows so short are scaled first (csrc/binarizer/network.h).
_LEAST_SQUARES = 2.0**-100


def as_array(x: ArrayLike, name: str, wanted: str = "(n, d)") -> NDArray[Any]:
    """``x`` as numpy reads it, of whatever dtype and shape; ``ValueError`` where it cannot. wanted: the shape."""
    try:
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"{name} has rows of different lengths: want {wanted}") from error
        # A tensor of torch, say, of bfloat16 or of a gradient, whose error says what to do.
        raise ValueError(f"{name} cannot be read as an array ({error}): want float32 {wanted}") from error


def as_vectors(x: ArrayLike, name: str, dim: int | None = None, allow_empty: bool = True) -> Floats:
    """``x`` as C-contiguous float32[n, d] without NaN or infinity. A single vector [d] becomes [1, d] when ``dim``
    is known, an empty list [0, d]."""
    # Every query comes by here: of a few float32 the extension says in a fifth of the time that they are as wanted.
    if dim is not None and (few := core.few_vectors(x, dim)) is not None:
        return few
    wanted = f"(n, {'d' if dim is None else dim})"
    array = as_array(x, name, wanted)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} has dtype {array.dtype}: want float32")
    if array.ndim == 1 and dim is not None:
        array = array[None, :] if array.size else np.empty((0, dim), np.float32)
    if array.ndim != 2 or (dim is not None and array.shape[1] != dim):
        raise ValueError(f"{name} has shape {array.shape}: want {wanted}")
    if dim is None and not 1 <= array.shape[1] <= _MAX_DIM:
        raise ValueError(f"{name} has {array.shape[1]} dimensions: want 1 to {_MAX_DIM}")
    if not allow_empty and array.shape[0] == 0:
        raise ValueError(f"{name} is empty: want at least one vector")
    with np.errstate(over="ignore"):  # what is too large for a float32 is refused below
        floats = np.ascontiguousarray(array, dtype=np.float32)
    if core.few_vectors(floats, floats.shape[1]) is not None:
        return floats
    # The sum of a row is finite unless an entry is not (or the sum overflows, which the second look settles).
    with np.errstate(invalid="ignore", over="ignore"):  # the error below says it; a warning would fill a server's log
        rows = np.flatnonzero(~np.isfinite(floats.sum(axis=1)))
    for row in rows:
        bad = np.flatnonzero(~np.isfinite(floats[row]))
        if bad.size:
            raise ValueError(f"{name}[{row}, {bad[0]}] is {floats[row, bad[0]]}: want finite numbers")
    return floats


def check_length(length: float, name: str) -> None:
    """``ValueError`` where the square of a ``length`` is none that scores can be made of."""
    if not _LENGTHS[0] <= length <= _LENGTHS[1]:
        raise ValueError(
            f"{name} is {length:.4g}: want {_LENGTHS[0]:g} to {_LENGTHS[1]:g}, whose squares a float32 holds; "
            "scale the vectors"
        )


def as_radius(radius: float) -> float:
    """``radius`` as a float within those of float32; ``ValueError`` unless it is a finite number."""
    try:
        number = not isinstance(radius, bool | np.bool_ | str | bytes) and np.ndim(radius) == 0
        value = float(radius) if number else math.nan
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"radius is {radius!r:.60}: want a finite number")
    return min(max(value, -_MOST), _MOST)


def check_whole(value: int, name: str) -> int:
    """``value`` if it is an integer, else ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} is {value!r}: want an integer")
    return int(value)


def check_seed(seed: int) -> int:
    """``seed`` if it is an integer of at least 0, else ``ValueError``."""
    if check_whole(seed, "seed") < 0:
        raise ValueError(f"seed is {seed}: want an integer of at least 0")
    return int(seed)


def check_dim(dim: int, name: str) -> int:
    """``dim`` if vectors may have so many dimensions, else ``ValueError``."""
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer) or not 1 <= dim <= _MAX_DIM:
        raise ValueError(f"{name} is {dim!r}: want a whole number from 1 to {_MAX_DIM}")
    return int(dim)


def as_ids(ids: ArrayLike, name: str, count: int | None = None, *, wanted: str = "int64 (n,)") -> Ids:
    """``ids`` as int64[n]; ``count``: the length that is wanted; ``wanted``: what an error calls for."""
    array: NDArray[Any] = np.asarray(ids)
    if array.size == 0 and array.ndim == 1:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(f"{name} has dtype {array.dtype} and shape {array.shape}: want {wanted}")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {array.max()}: want ids below 2^63")
    if count is not None and len(array) != count:
        raise ValueError(f"{name} has {len(array)} entries for {count} vectors: want one each")
    return np.ascontiguousarray(array, dtype=np.int64)


def normalized(x: Floats) -> Floats:
    """Rows scaled to unit length, however long or short; a zero row stays zero."""
    with np.errstate(over="ignore", under="ignore"):
        squares = np.add.reduce(x * x, axis=1, keepdims=True)  # what numpy.linalg.norm does, in half the time
    if len(x) == 1 and _LEAST_SQUARES <= (square := squares.item()) < math.inf:  # a query: in a third of the time
        return np.asarray(x / np.float32(math.sqrt(square)), np.float32)
    if len(x) and not (squares.min() >= _LEAST_SQUARES and squares.max() < np.inf):
        far = ~((squares[:, 0] >= _LEAST_SQUARES) & (squares[:, 0] < np.inf))
        far[far] = x[far].any(axis=1)
        x = x.copy()
        x[far] /= np.abs(x[far]).max(axis=1, keepdims=True)
        squares[far] = np.add.reduce(x[far] * x[far], axis=1, keepdims=True)
    norms = np.sqrt(squares)
    return np.asarray(x / np.where(norms > 0, norms, 1), np.float32)
