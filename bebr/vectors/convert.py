"""Numbers of a file to the two types the engine works with: float32 and int64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 32 << 20  # convert piece by piece: memory then holds the result and one piece, not two copies


def to_float32(x: NDArray[Any], name: str, first_row: int = 0) -> NDArray[np.float32]:
    """Return [n, d] as native float32, or itself if it is; `name` and `first_row` are for the error messages."""
    if x.dtype == np.float32 and x.dtype.isnative:
        return x
    if x.dtype.kind not in "fiu":
        raise ValueError(f"{name}: got dtype {x.dtype}, wanted real numbers (float or integer)")
    out = np.empty(x.shape, np.float32)
    narrows = x.dtype.kind == "f" and x.dtype.itemsize > 4
    rows = max(1, _BLOCK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        with np.errstate(over="ignore"):  # reported below, with the row
            out[start : start + rows] = block
        if narrows:
            lost = np.isinf(out[start : start + rows]) & np.isfinite(block)
            if lost.any():
                row, col = (int(i) for i in np.argwhere(lost)[0])
                where = f"row {first_row + start + row}, dim {col}"
                raise ValueError(f"{name}: got {block[row, col]} at {where}, wanted a number within float32")
    return out


def to_int64(ids: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Return [n] ids as int64; `name` opens the error messages."""
    if ids.dtype.kind not in "iu":
        raise ValueError(f"{name}: got ids of dtype {ids.dtype}, wanted integers")
    if ids.dtype == np.uint64 and len(ids) and int(ids.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: got id {int(ids.max())}, wanted at most {np.iinfo(np.int64).max} (int64)")
    return np.ascontiguousarray(ids, np.int64)
