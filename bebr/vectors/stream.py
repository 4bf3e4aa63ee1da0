"""Vectors larger than memory: any part of a source, block after block, without mapping files (mapped pages count as
memory in use)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import as_array
from bebr.vectors.convert import to_float32
from bebr.vectors.reader import READABLE, open_file
from bebr.vectors.remote import expanded, facts, is_url

Floats = NDArray[np.float32]
_SUMMED = 1 << 14  # rows of an array at once
# Blocks float32[m, d] of any m from row ``start`` on, the same whenever it is asked.
Blocks = Callable[[int], Iterator[Floats]]


class VectorStream(ABC):
    """``rows`` vectors of ``dim`` dimensions, read from any row on."""

    rows: int
    dim: int

    @property
    @abstractmethod
    def mark(self) -> list[Any]:
        """Plain values that are others where the vectors are."""

    @abstractmethod
    def blocks(self, start: int, stop: int, size: int) -> Iterator[Floats]:
        """float32[m, dim], m <= size, of rows start to stop; ``ValueError`` names source and row of what is not a
        finite number."""


def stream(
    source: str | Path | Sequence[str | Path] | NDArray[Any] | Blocks,
    column: str | None = None,
    rows: int | None = None,
) -> VectorStream:
    """A file of vectors, several files one after the other, a folder of them in the order of their names, an array
    [n, d] (mapped, perhaps), or a function from a row to the blocks that follow it, which needs ``rows``.

    rows: the first rows only. column: of Parquet files. ``ValueError`` and ``FileNotFoundError`` as
    :func:`bebr.vectors.read_vectors`, and for files of different dimensions.
    """
    if rows is not None and rows < 1:
        raise ValueError(f"rows: got {rows}, wanted at least 1")
    if isinstance(source, np.ndarray):
        return _Array(source, rows)
    if hasattr(source, "__array__"):  # a tensor of torch, a table of pandas
        return _Array(as_array(source, "source"), rows)
    if callable(source):
        return _Function(source, rows)
    given = [source] if isinstance(source, str | Path) else list(source) if isinstance(source, Sequence) else None
    if given is None or not all(isinstance(one, str | Path) for one in given):
        raise ValueError(
            f"source is of type {type(source).__name__}: want a path, several of them, an array of numpy [n, d], or a "
            "function that yields such"
        )
    if given and all(map(is_url, given)):
        return _Files([name for url in given for name in expanded(str(url))], column, rows)
    paths = [Path(path) for path in given]
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(path for path in paths[0].iterdir() if path.suffix in READABLE)
    if not paths:
        raise ValueError(f"{source}: no file of vectors, wanted {', '.join(READABLE)}")
    return _Files(paths, column, rows)


def _checked(blocks: Iterator[tuple[int, NDArray[Any]]], name: str) -> Iterator[Floats]:
    """Blocks and their first rows as float32 without NaN or infinity."""
    for row, block in blocks:
        floats = to_float32(np.ascontiguousarray(block), name, row)
        # As in bebr.arrays: the sum of a row is finite unless an entry is not, or it overflows.
        for bad in np.flatnonzero(~np.isfinite(floats.sum(axis=1))):
            if (dims := np.flatnonzero(~np.isfinite(floats[bad]))).size:
                where = f"row {row + bad}, dim {dims[0]}"
                raise ValueError(f"{name}: got {floats[bad, dims[0]]} at {where}, wanted finite numbers")
        yield floats


class _Array(VectorStream):
    def __init__(self, array: NDArray[Any], rows: int | None) -> None:
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"source: got an array of shape {list(array.shape)}, wanted vectors [n, d]")
        self._array = array[:rows]
        self.rows, self.dim = self._array.shape

    @property
    def mark(self) -> list[Any]:
        """Of a mapped array its file's; else a checksum of all numbers."""
        array, shape = self._array, ["array", self.rows, self.dim]
        if isinstance(array, np.memmap) and array.filename is not None:
            return [*shape, *_facts(Path(array.filename))]
        checksum = 0
        for start in range(0, self.rows, _SUMMED):
            checksum = crc32(np.ascontiguousarray(array[start : start + _SUMMED]).data, checksum)
        return [*shape, checksum]

    def blocks(self, start: int, stop: int, size: int) -> Iterator[Floats]:
        pieces = ((row, self._array[row : min(row + size, stop)]) for row in range(start, stop, size))
        return _checked(pieces, "source")


class _Function(VectorStream):
    def __init__(self, function: Blocks, rows: int | None) -> None:
        if rows is None:
            raise ValueError("rows is None: a source that is a function needs the number of its rows")
        self._function, self.rows = function, rows
        first = next(iter(function(0)), None)
        if not isinstance(first, np.ndarray) or first.ndim != 2 or 0 in first.shape:
            raise ValueError(f"source(0) yields {type(first).__name__}: want arrays float32[m, d]")
        self.dim = first.shape[1]

    @property
    def mark(self) -> list[Any]:
        return ["function", self.rows, self.dim]

    def blocks(self, start: int, stop: int, size: int) -> Iterator[Floats]:
        return _checked(self._pieces(start, stop, size), "source")

    def _pieces(self, start: int, stop: int, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        row = start
        if row == stop:
            return
        for block in self._function(start):
            if block.ndim != 2 or block.shape[1] != self.dim:
                raise ValueError(f"source: got a block of shape {list(block.shape)} at row {row}: want [m, {self.dim}]")
            for at in range(0, min(len(block), stop - row), size):
                yield row + at, block[at : min(at + size, stop - row)]
            row += len(block)
            if row >= stop:
                return
        raise ValueError(f"source: it ended after {row} rows, wanted {self.rows}")


def _facts(path: str | Path) -> list[Any]:
    """What tells a file from what it is after a change."""
    if isinstance(path, str):
        return facts(path)
    about = path.stat()
    return [str(path.resolve()), about.st_size, about.st_mtime_ns]


class _Files(VectorStream):
    def __init__(self, paths: Sequence[str | Path], column: str | None, rows: int | None) -> None:
        self._files = [open_file(path, column) for path in paths]
        self.dim = self._files[0].dim
        for path, file in zip(paths, self._files, strict=True):
            if file.dim != self.dim:
                raise ValueError(f"{path}: got {file.dim} dimensions, wanted {self.dim} as in {paths[0]}")
        there = sum(file.rows for file in self._files)
        self.rows = there if rows is None else min(rows, there)
        self._facts = [_facts(path) for path in paths]

    @property
    def mark(self) -> list[Any]:
        return ["files", self.rows, self.dim, *self._facts]

    def blocks(self, start: int, stop: int, size: int) -> Iterator[Floats]:
        first = 0
        for file in self._files:
            low, high = max(start - first, 0), min(stop - first, file.rows)
            if low < high:
                yield from _checked(file.blocks(low, high, size), file.name)
            first += file.rows
