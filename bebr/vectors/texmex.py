"""Texmex .fvecs, .bvecs, .ivecs: a row is a little-endian int32 dimension, then its float32, uint8 or int32 values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.vectors.file import VectorFile
from bebr.vectors.npy import read_rows

DTYPES: dict[str, np.dtype[Any]] = {".fvecs": np.dtype("<f4"), ".bvecs": np.dtype("u1"), ".ivecs": np.dtype("<i4")}
_CHECK_ROWS = 1 << 16


class Texmex(VectorFile):
    """The size of the whole file must be whole rows; the dimension is checked in each row that is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.dim = dimension(path)
        self._dtype = DTYPES[path.suffix]
        self._width = 4 + self.dim * self._dtype.itemsize
        self.rows = path.stat().st_size // self._width

    def mapped(self, rows: int) -> NDArray[Any]:
        raw = np.memmap(self.path, np.uint8, mode="r", shape=(rows, self._width))
        for start in range(0, rows, _CHECK_ROWS):
            self._check(raw[start : start + _CHECK_ROWS], start)
        return raw[:, 4:].view(self._dtype)

    def blocks(self, start: int, stop: int, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        with self.path.open("rb") as file:
            file.seek(start * self._width)
            for row in range(start, stop, size):
                raw = read_rows(file, np.dtype(np.uint8), min(size, stop - row), self._width, self.name)
                self._check(raw, row)
                yield row, np.ascontiguousarray(raw[:, 4:]).view(self._dtype)

    def _check(self, raw: NDArray[np.uint8], first: int) -> None:
        head = np.frombuffer(self.dim.to_bytes(4, "little", signed=True), np.uint8)
        differs = (raw[:, :4] != head).any(axis=1)
        if differs.any():
            at = int(differs.argmax())
            got = int.from_bytes(raw[at, :4].tobytes(), "little", signed=True)
            raise ValueError(f"{self.name}: got dimension {got} in row {first + at}, wanted {self.dim} as in row 0")


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
