"""Vectors and ids in Parquet: a list<number> or fixed_size_list<number> column, and an integer column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bebr.extras import needed
from bebr.vectors.convert import to_int64
from bebr.vectors.file import VectorFile
from bebr.vectors.remote import opened

if TYPE_CHECKING:  # pyarrow takes a third of a second to import: only those who read Parquet pay
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 8192


class Parquet(VectorFile):
    """The named, or the only, vector column; nulls and unequal lengths are refused by row."""

    def __init__(self, path: str | Path, column: str | None) -> None:
        super().__init__(Path(path))
        self._place = path  # where it is a URL, no Path is it
        file = _open(path)
        schema = file.schema_arrow
        vectors = [field.name for field in schema if _holds_vectors(field.type)]
        self._column = _choose(path, column, vectors, schema.names, "vectors")
        self.name = f"{path}: column '{self._column}'"
        self.rows = file.metadata.num_rows
        if self.rows == 0:
            raise ValueError(f"{self.name} has no rows, wanted at least one vector")
        ((_, first),) = _arrays(path, self._column, 0, 1, 1)
        self.dim = _dense(self.name, first, 0, None).shape[1]

    def blocks(self, start: int, stop: int, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
        for row, array in _arrays(self._place, self._column, start, stop, size):
            yield row, _dense(self.name, array, row, self.dim)


def read_ids(path: str | Path, column: str | None, limit: int | None) -> NDArray[np.int64]:
    """Return int64[n] of the named, or the only, integer column."""
    file = _open(path)
    import pyarrow as pa

    schema = file.schema_arrow
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    column = _choose(path, column, integers, schema.names, "integer ids")
    name = f"{path}: column '{column}'"
    rows = file.metadata.num_rows if limit is None else min(limit, file.metadata.num_rows)
    out = np.empty(rows, np.int64)
    for row, array in _arrays(path, column, 0, rows, _BATCH_ROWS):
        if array.null_count:
            raise ValueError(f"{name} is null in row {row + _first_null(array)}, wanted an id in every row")
        out[row : row + len(array)] = to_int64(array.to_numpy(zero_copy_only=False), name)
    return out


def _open(path: str | Path) -> pq.ParquetFile:
    with needed("parquet", "a .parquet file"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(opened(path), memory_map=True)
        _ = file.schema_arrow.names  # decoded on each look; damage in a name must show here, not at the caller
        return file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path}: not a readable Parquet file: {error}") from error


def _arrays(path: str | Path, name: str, start: int, stop: int, size: int) -> Iterator[tuple[int, pa.Array]]:
    """(first row, at most ``size`` values) of a column, rows start to stop; other row groups are not read.

    Damage found while decoding is told with the file's name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(opened(path), memory_map=False, buffer_size=1 << 20) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        ends = np.cumsum(sizes)
        first, last = int(np.searchsorted(ends, start, "right")), int(np.searchsorted(ends, stop, "left"))
        row = int(ends[first]) - sizes[first] if start < stop else stop
        groups = range(first, min(last + 1, len(sizes)))
        stream = file.iter_batches(min(size, _BATCH_ROWS), row_groups=groups, columns=[name], use_threads=False)
        while row < stop:
            try:
                array = next(stream).column(0)
            except StopIteration:
                raise ValueError(f"{path}: got {row} rows, wanted {stop} as its footer says") from None
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{path}: column '{name}' cannot be decoded after row {row}: {error}") from error
            low, high = max(start - row, 0), min(stop - row, len(array))
            if low < high:
                yield row + low, array[low:high]
            row += len(array)


def _choose(path: str | Path, column: str | None, candidates: list[str], names: list[str], what: str) -> str:
    if column is not None:
        if column in candidates:
            return column
        reason = f"holds no {what}" if column in names else "is not there"
        raise ValueError(f"{path}: column '{column}' {reason}; columns that do: {_listed(candidates)}")
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ValueError(f"{path}: no column holds {what}; columns: {_listed(names)}")
    raise ValueError(f"{path}: {len(candidates)} columns hold {what}, name one with column=: {_listed(candidates)}")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") if names else "none"


def _holds_vectors(kind: pa.DataType) -> bool:
    import pyarrow as pa

    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(nested and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _first_null(array: pa.Array) -> int:
    return int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))


def _dense(where: str, array: pa.Array, first_row: int, dim: int | None) -> NDArray[Any]:
    """Return a list array as [rows, d]; `dim` is the width of the rows before, None for the first ones."""
    import pyarrow as pa

    if array.null_count:
        raise ValueError(f"{where} is null in row {first_row + _first_null(array)}, wanted a vector in every row")
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.full(len(array), array.type.list_size)
    else:
        lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    wanted = int(lengths[0]) if dim is None else dim
    if wanted < 1:
        raise ValueError(f"{where} has an empty vector in row {first_row}, wanted at least one dimension")
    if (lengths != wanted).any():
        row = int(np.argmax(lengths != wanted))
        got = f"{int(lengths[row])} dimensions in row {first_row + row}"
        raise ValueError(f"{where} has {got}, wanted {wanted} as in row 0")
    values = array.flatten()  # honours the slice, unlike .values
    if values.null_count:
        row = first_row + _first_null(values) // wanted
        raise ValueError(f"{where} has a null number in row {row}, wanted numbers only")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(array), wanted)
