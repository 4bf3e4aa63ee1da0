"""NumPy .npy files, mapped or read; never unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from bebr.vectors.file import VectorFile


def mapped(path: Path) -> NDArray[Any]:
    """The array of a .npy file, mapped read-only. ValueError for .npz, pickles and damaged files."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except PermissionError:
        raise
    except Exception as error:  # a damaged header raises whatever numpy's parser meets: tokenize, overflow, zip
        raise ValueError(f"{path}: not a readable .npy file: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: got an .npz archive, wanted one .npy array")
    return array


class Npy(VectorFile):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        array = mapped(path)
        if array.ndim != 2:
            raise ValueError(f"{path}: got an array of shape {list(array.shape)}, wanted vectors [n, d]")
        if 0 in array.shape:
            raise ValueError(
                f"{path}: got shape {list(array.shape)}, wanted at least one vector of at least one dimension"
            )
        self.rows, self.dim = array.shape
        self._dtype, self._by_rows = array.dtype, array.flags.c_contiguous
        self._offset = cast("np.memmap[Any, Any]", array).offset

    def mapped(self, rows: int) -> NDArray[Any]:
        return mapped(self.path)[:rows]

    def blocks(self, start: int, stop: int, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        if not self._by_rows:
            raise ValueError(f"{self.path}: got columns one after the other (Fortran order), wanted rows")
        width = self.dim * self._dtype.itemsize
        with self.path.open("rb") as file:
            file.seek(self._offset + start * width)
            for row in range(start, stop, size):
                yield row, read_rows(file, self._dtype, min(size, stop - row), self.dim, self.name)


def read_rows(file: BinaryIO, dtype: np.dtype[Any], rows: int, dim: int, name: str) -> NDArray[Any]:
    """The next [rows, dim] of ``dtype``; ``ValueError`` where the file ends before."""
    out = np.empty((rows, dim), dtype)
    view = memoryview(cast("Any", out.view(np.uint8))).cast("B")
    done = 0
    while done < len(view):
        got = cast("Any", file).readinto(view[done:])
        if not got:
            raise ValueError(f"{name}: it became shorter while it was read")
        done += got
    return out
