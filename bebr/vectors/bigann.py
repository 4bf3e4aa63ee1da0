"""The files of the big-ann benchmarks, .fbin, .u8bin and .i8bin: a little-endian uint32 of rows and one of dimensions,
then float32, uint8 or int8 values, row after row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.vectors.file import VectorFile
from bebr.vectors.npy import read_rows

DTYPES: dict[str, np.dtype[Any]] = {".fbin": np.dtype("<f4"), ".u8bin": np.dtype("u1"), ".i8bin": np.dtype("i1")}
_HEAD = 8


class BigAnn(VectorFile):
    """The size of the file must be what its first two numbers say."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._dtype = DTYPES[path.suffix]
        size = path.stat().st_size
        if size < _HEAD:
            raise ValueError(f"{path}: got {size} bytes, wanted at least the {_HEAD} that say how many rows there are")
        self.rows, self.dim = np.fromfile(path, "<u4", count=2).tolist()
        if self.rows < 1 or self.dim < 1:
            raise ValueError(f"{path}: got {self.rows} rows of {self.dim} dimensions, wanted at least one of one")
        wanted = _HEAD + self.rows * self.dim * self._dtype.itemsize
        if size != wanted:
            raise ValueError(
                f"{path}: got {size} bytes, wanted {wanted} for {self.rows} rows of {self.dim} x "
                f"{self._dtype.itemsize} bytes. Truncated, or not {path.suffix}?"
            )

    def mapped(self, rows: int) -> NDArray[Any]:
        return np.memmap(self.path, self._dtype, mode="r", offset=_HEAD, shape=(rows, self.dim))

    def blocks(self, start: int, stop: int, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        with self.path.open("rb") as file:
            file.seek(_HEAD + start * self.dim * self._dtype.itemsize)
            for row in range(start, stop, size):
                yield row, read_rows(file, self._dtype, min(size, stop - row), self.dim, self.name)
