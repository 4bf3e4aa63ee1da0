"""Vectors and ids in Parquet: a list<number> or fixed_size_list<number> column, and an integer column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bebr.vectors.convert import to_float32, to_int64

if TYPE_CHECKING:  # pyarrow takes a third of a second to import: only those who read Parquet pay
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 8192


def read_vectors(path: Path, column: str | None, limit: int | None) -> NDArray[np.float32]:
    """Return float32[n, d] of the named, or the only, vector column; nulls and unequal lengths are refused by row."""
    file = _open(path)
    schema = file.schema_arrow
    name = _choose(path, column, [f.name for f in schema if _holds_vectors(f.type)], schema.names, "vectors")
    rows = file.metadata.num_rows if limit is None else min(limit, file.metadata.num_rows)
    if rows == 0:
        raise ValueError(f"{path}: column '{name}' has no rows, wanted at least one vector")
    out: NDArray[np.float32] | None = None
    done = 0
    for batch in _batches(path, file, name, rows):
        block = _dense(path, name, batch, done, None if out is None else out.shape[1])
        if out is None:
            out = np.empty((rows, block.shape[1]), np.float32)
        out[done : done + len(block)] = to_float32(block, f"{path}: column '{name}'", done)
        done += len(block)
    assert out is not None
    return out


def describe(path: Path, column: str | None) -> tuple[str, int, int]:
    """Name, rows and dimensions of the named, or the only, vector column."""
    file = _open(path)
    schema = file.schema_arrow
    name = _choose(path, column, [f.name for f in schema if _holds_vectors(f.type)], schema.names, "vectors")
    rows = file.metadata.num_rows
    if rows == 0:
        raise ValueError(f"{path}: column '{name}' has no rows, wanted at least one vector")
    return name, rows, _dense(path, name, next(_batches(path, file, name, 1)), 0, None).shape[1]


def blocks(path: Path, name: str, dim: int, start: int, stop: int, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """(first row, [m, dim]), m <= size, of rows start to stop; row groups before and after are not read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False, buffer_size=1 << 20) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        ends = np.cumsum(sizes)
        first, last = int(np.searchsorted(ends, start, "right")), int(np.searchsorted(ends, stop, "left"))
        row = int(ends[first]) - sizes[first]
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
                yield row + low, _dense(path, name, array[low:high], row + low, dim)
            row += len(array)


def read_ids(path: Path, column: str | None, limit: int | None) -> NDArray[np.int64]:
    """Return int64[n] of the named, or the only, integer column."""
    import pyarrow as pa

    file = _open(path)
    schema = file.schema_arrow
    name = _choose(path, column, [f.name for f in schema if pa.types.is_integer(f.type)], schema.names, "integer ids")
    rows = file.metadata.num_rows if limit is None else min(limit, file.metadata.num_rows)
    out = np.empty(rows, np.int64)
    done = 0
    for batch in _batches(path, file, name, rows):
        if batch.null_count:
            row = done + _first_null(batch)
            raise ValueError(f"{path}: column '{name}' is null in row {row}, wanted an id in every row")
        out[done : done + len(batch)] = to_int64(batch.to_numpy(zero_copy_only=False), f"{path}: column '{name}'")
        done += len(batch)
    return out


def _open(path: Path) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, memory_map=True)
        _ = file.schema_arrow.names  # decoded on each look; damage in a name must show here, not at the caller
        return file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path}: not a readable Parquet file: {error}") from error


def _batches(path: Path, file: pq.ParquetFile, name: str, rows: int) -> Any:
    """Yield the column's arrow arrays up to `rows` rows; damage found while decoding is told with the file's name."""
    import pyarrow as pa

    done = 0
    stream = file.iter_batches(_BATCH_ROWS, columns=[name])
    while done < rows:
        try:
            array = next(stream).column(0)
        except StopIteration:
            raise ValueError(f"{path}: got {done} rows, wanted {rows} as its footer says") from None
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: column '{name}' cannot be decoded after row {done}: {error}") from error
        array = array[: rows - done]
        done += len(array)
        yield array


def _choose(path: Path, column: str | None, candidates: list[str], names: list[str], what: str) -> str:
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


def _dense(path: Path, name: str, array: pa.Array, first_row: int, dim: int | None) -> NDArray[Any]:
    """Return a list array as [rows, d]; `dim` is the width of the rows before, None for the first ones."""
    import pyarrow as pa

    where = f"{path}: column '{name}'"
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
