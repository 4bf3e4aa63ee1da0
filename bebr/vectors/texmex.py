"""Texmex .fvecs, .bvecs, .ivecs: a row is a little-endian int32 dimension, then its float32, uint8 or int32 values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, np.dtype[Any]] = {".fvecs": np.dtype("<f4"), ".bvecs": np.dtype("u1"), ".ivecs": np.dtype("<i4")}
_CHECK_ROWS = 1 << 16


def read(path: Path, limit: int | None, mmap: bool) -> NDArray[Any]:
    """Return [n, d] in the file's own dtype: a strided read-only view of the mapped file, or a contiguous array.

    The size of the whole file must be whole rows; the dimension is checked in each row that is returned.
    """
    dtype = DTYPES[path.suffix]
    dim = dimension(path)
    size, row_bytes = path.stat().st_size, 4 + dim * dtype.itemsize
    rows = size // row_bytes if limit is None else min(limit, size // row_bytes)
    raw = np.memmap(path, np.uint8, mode="r", shape=(rows, row_bytes))
    for start in range(0, rows, _CHECK_ROWS):
        differs = (raw[start : start + _CHECK_ROWS, :4] != raw[0, :4]).any(axis=1)
        if differs.any():
            row = start + int(differs.argmax())
            got = int.from_bytes(raw[row, :4].tobytes(), "little", signed=True)
            raise ValueError(f"{path}: got dimension {got} in row {row}, wanted {dim} as in row 0")
    body = raw[:, 4:].view(dtype)
    return body if mmap else np.array(body)


def dimension(path: Path) -> int:
    """Of the first row; ``ValueError`` unless the file can be whole rows of it."""
    dtype = DTYPES[path.suffix]
    size = path.stat().st_size
    if size < 4:
        raise ValueError(f"{path}: got {size} bytes, wanted at least a 4-byte dimension")
    dim = int(np.fromfile(path, "<i4", count=1)[0])
    if dim < 1:
        raise ValueError(f"{path}: got dimension {dim} in row 0, wanted at least 1")
    row_bytes = 4 + dim * dtype.itemsize
    if size % row_bytes:
        raise ValueError(
            f"{path}: got {size} bytes, wanted a multiple of {row_bytes} (rows of {dim} x {dtype.itemsize} bytes and a "
            f"4-byte dimension): {size % row_bytes} bytes too many. Truncated, or not {path.suffix}?"
        )
    return dim


def rows(array: NDArray[Any], suffix: str) -> NDArray[np.uint8]:
    """Return [n, d] as the file's rows: uint8[n, 4 + d * itemsize]. `array` already has the dtype of `suffix`."""
    dtype = DTYPES[suffix]
    n, dim = array.shape
    out = np.empty((n, 4 + dim * dtype.itemsize), np.uint8)
    out[:, :4] = np.frombuffer(dim.to_bytes(4, "little", signed=True), np.uint8)
    out[:, 4:] = np.ascontiguousarray(array, dtype).view(np.uint8).reshape(n, -1)
    return out
