"""Vector files: reading float32 vectors and int64 ids, writing any matrix, by file name suffix.

=========  ==========================================================  =======================
suffix     content                                                     read without a copy
=========  ==========================================================  =======================
.npy       one NumPy array [n, d]                                      little-endian float32
.fvecs     Texmex: each row is a little-endian int32 d, d float32      yes (rows are strided)
.bvecs     the same with d uint8                                       no, converted
.ivecs     the same with d int32                                       no, converted
.parquet   a list or fixed-size-list column of numbers                 no
=========  ==========================================================  =======================

Every error names the file, what was found and what was wanted. Writers write to a temporary name in the same folder
and rename it when all is on disk, so a reader never sees half a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.vectors import npy, parquet, texmex
from bebr.vectors.convert import to_float32, to_int64
from bebr.vectors.output import check_output
from bebr.vectors.stream import Blocks, VectorStream, stream
from bebr.vectors.writer import SUFFIXES, VectorWriter, write_columns, write_vectors

__all__ = [
    "SUFFIXES",
    "Blocks",
    "VectorStream",
    "VectorWriter",
    "check_output",
    "read_ids",
    "read_vectors",
    "stream",
    "write_columns",
    "write_vectors",
]


def read_vectors(
    path: str | Path, column: str | None = None, limit: int | None = None, mmap: bool = True
) -> NDArray[np.float32]:
    """Read a file of vectors as float32[n, d].

    column  Parquet only: the column to read; needed when more than one holds vectors.
    limit   read the first `limit` rows only.
    mmap    map .npy (float32) and .fvecs instead of reading them: read-only, and rows of .fvecs are not contiguous.

    float16 and small integers are widened; float64 and int32/64 are rounded to the nearest float32, and a finite value
    past its range is refused. NaN and infinity are passed on: whoever uses the vectors refuses them by row.
    Errors: FileNotFoundError; ValueError for an unknown suffix or a file that is not what its suffix says.
    """
    path = _existing(path)
    _check_limit(limit)
    _check_column(path, column)
    if path.suffix == ".npy":
        x = npy.read(path, mmap)
        if x.ndim != 2:
            raise ValueError(f"{path}: got an array of shape {list(x.shape)}, wanted vectors [n, d]")
        x = x[:limit]
    elif path.suffix == ".parquet":
        return parquet.read_vectors(path, column, limit)
    else:
        x = texmex.read(path, limit, mmap)
    if 0 in x.shape:
        raise ValueError(f"{path}: got shape {list(x.shape)}, wanted at least one vector of at least one dimension")
    return to_float32(x, str(path))


def read_ids(path: str | Path, column: str | None = None, limit: int | None = None) -> NDArray[np.int64]:
    """Read int64[n] ids: a .npy of integers [n] or [n, 1], an .ivecs of one column, or an integer column of Parquet.

    `column` names the Parquet column; it may be left out when the file has one integer column only.
    Errors: FileNotFoundError; ValueError for floats, nulls, ids past int64, or an unclear column.
    """
    path = _existing(path)
    _check_limit(limit)
    _check_column(path, column)
    if path.suffix == ".parquet":
        return parquet.read_ids(path, column, limit)
    if path.suffix == ".npy":
        ids: NDArray[Any] = npy.read(path, mmap=False)
    elif path.suffix == ".ivecs":
        ids = texmex.read(path, limit, mmap=False)
    else:
        raise ValueError(f"{path}: got suffix '{path.suffix}', wanted ids in .npy, .ivecs or .parquet")
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    if ids.ndim != 1:
        raise ValueError(f"{path}: got an array of shape {list(ids.shape)}, wanted one id a row: [n] or [n, 1]")
    return to_int64(ids[:limit], str(path))


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: got suffix '{path.suffix}', wanted one of {', '.join(SUFFIXES)}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: got a folder, wanted a file")
    return path


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"limit: got {limit}, wanted at least 1")


def _check_column(path: Path, column: str | None) -> None:
    if column is not None and path.suffix != ".parquet":
        raise ValueError(f"column: got '{column}' for {path}, but only Parquet files have named columns")
