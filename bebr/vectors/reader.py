"""Reading whole files of vectors and of ids; the format follows the file name's suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.vectors import bigann, npy, parquet, texmex
from bebr.vectors.convert import to_float32, to_int64
from bebr.vectors.file import VectorFile
from bebr.vectors.remote import is_url
from bebr.vectors.writer import SUFFIXES

# Suffixes of what is read; SUFFIXES are of what is written, too.
READABLE = (*SUFFIXES, *bigann.DTYPES)
_BLOCK_ROWS = 8192


def open_file(path: str | Path, column: str | None = None) -> VectorFile:
    """A file of vectors, by its suffix. Errors as :func:`read_vectors`."""
    if is_url(path):
        return parquet.Parquet(str(path), column)
    path = _existing(path, column)
    if path.suffix == ".parquet":
        return parquet.Parquet(path, column)
    if path.suffix in bigann.DTYPES:
        return bigann.BigAnn(path)
    return npy.Npy(path) if path.suffix == ".npy" else texmex.Texmex(path)


def read_vectors(
    path: str | Path, column: str | None = None, limit: int | None = None, mmap: bool = True
) -> NDArray[np.float32]:
    """Read a file of vectors as float32[n, d].

    column  Parquet only: the column to read; needed when more than one holds vectors.
    limit   read the first `limit` rows only.
    mmap    map .npy (float32), .fvecs and .fbin instead of reading them: read-only; rows of .fvecs are not contiguous.

    float16 and small integers are widened; float64 and int32/64 are rounded to the nearest float32, and a finite value
    past its range is refused. NaN and infinity are passed on: whoever uses the vectors refuses them by row.
    Errors: FileNotFoundError; ValueError for an unknown suffix or a file that is not what its suffix says.
    """
    _check_limit(limit)
    file = open_file(path, column)
    rows = file.rows if limit is None else min(limit, file.rows)
    # Mapped even when a copy is wanted: mapping checks the header against the file's size before memory is taken.
    array = file.mapped(rows)
    if array is not None:
        return to_float32(array if mmap else np.array(array), file.name)
    out = np.empty((rows, file.dim), np.float32)
    for row, block in file.blocks(0, rows, _BLOCK_ROWS):
        out[row : row + len(block)] = to_float32(block, file.name, row)
    return out


def read_ids(path: str | Path, column: str | None = None, limit: int | None = None) -> NDArray[np.int64]:
    """Read int64[n] ids: a .npy of integers [n] or [n, 1], an .ivecs of one column, or an integer column of Parquet.

    `column` names the Parquet column; it may be left out when the file has one integer column only.
    Errors: FileNotFoundError; ValueError for floats, nulls, ids past int64, or an unclear column.
    """
    path = _existing(path, column)
    _check_limit(limit)
    if path.suffix == ".parquet":
        return parquet.read_ids(path, column, limit)
    if path.suffix == ".npy":
        ids: NDArray[Any] = npy.mapped(path)
    elif path.suffix == ".ivecs":
        file = texmex.Texmex(path)
        ids = file.mapped(file.rows if limit is None else min(limit, file.rows))
    else:
        raise ValueError(f"{path}: got suffix '{path.suffix}', wanted ids in .npy, .ivecs or .parquet")
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    if ids.ndim != 1:
        raise ValueError(f"{path}: got an array of shape {list(ids.shape)}, wanted one id a row: [n] or [n, 1]")
    return to_int64(np.array(ids[:limit]), str(path))


def _existing(path: str | Path, column: str | None) -> Path:
    path = Path(path)
    if path.suffix not in READABLE:
        raise ValueError(f"{path}: got suffix '{path.suffix}', wanted one of {', '.join(READABLE)}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: got a folder, wanted a file")
    if column is not None and path.suffix != ".parquet":
        raise ValueError(f"column: got '{column}' for {path}, but only Parquet files have named columns")
    return path


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"limit: got {limit}, wanted at least 1")
