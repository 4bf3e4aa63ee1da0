"""Writing matrices: one array at once, or block by block when the whole does not fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bebr.extras import needed
from bebr.files import replacing
from bebr.vectors import texmex
from bebr.vectors.output import check_output

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".npy", ".fvecs", ".bvecs", ".ivecs", ".parquet")


def write_vectors(path: str | Path, array: NDArray[Any]) -> None:
    """Write [n, d] by suffix: .npy and .parquet keep the dtype; .fvecs is float32, .bvecs uint8, .ivecs int32.

    A value that the format cannot hold (an id past int32 in .ivecs, 0.5 in .bvecs) is a ValueError; no file is left.
    """
    if array.ndim != 2:
        raise ValueError(f"array: got shape {list(array.shape)}, wanted [n, d]")
    with VectorWriter(path, array.shape[0], array.shape[1], array.dtype) as writer:
        writer.append(array)


def write_columns(path: str | Path, columns: dict[str, NDArray[Any]]) -> None:
    """Write equally long arrays as Parquet columns: [n] as numbers, [n, d] as fixed-size lists."""
    with needed("parquet", "a .parquet file"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    path = check_output(path, ".parquet")
    table = pa.table({name: _arrow(array) for name, array in columns.items()})
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


class VectorWriter:
    """Context manager that writes `rows` x `dim` numbers in blocks; the file appears when it ends without an error.

    `dtype` is that of the blocks; .fvecs, .bvecs and .ivecs have their own and refuse what it cannot hold.
    `column` names the Parquet column. `labels` names another one, of strings given with each block; Parquet only.
    """

    def __init__(
        self,
        path: str | Path,
        rows: int,
        dim: int,
        dtype: DTypeLike,
        column: str = "vector",
        labels: str | None = None,
    ) -> None:
        self.path = check_output(path, *SUFFIXES)
        if labels is not None and self.path.suffix != ".parquet":
            raise ValueError(f"labels: got '{labels}' for {path}, but only Parquet files have named columns")
        self.rows, self.dim, self.column, self.labels = rows, dim, column, labels
        self.dtype = texmex.DTYPES.get(self.path.suffix, np.dtype(dtype).newbyteorder("="))
        if self.dtype.kind not in "fiu":
            raise ValueError(f"{path}: got dtype {self.dtype}, wanted real numbers (float or integer)")
        self._written = 0
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._parquet: Any = None

    def __enter__(self) -> VectorWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path))
            if self.path.suffix == ".parquet":
                with needed("parquet", "a .parquet file"):
                    import pyarrow as pa
                    import pyarrow.parquet as pq

                kind = pa.list_(pa.from_numpy_dtype(self.dtype), self.dim)
                fields = [] if self.labels is None else [(self.labels, pa.string())]
                schema = pa.schema([*fields, (self.column, kind)])
                self._parquet = stack.enter_context(pq.ParquetWriter(temporary, schema))
            else:
                self._file = stack.enter_context(temporary.open("wb"))
                if self.path.suffix == ".npy":
                    header = {
                        "descr": np.lib.format.dtype_to_descr(self.dtype),
                        "fortran_order": False,
                        "shape": (self.rows, self.dim),
                    }
                    np.lib.format.write_array_header_1_0(self._file, header)
            self._stack = stack.pop_all()
        return self

    def append(self, block: NDArray[Any], labels: Sequence[str] | None = None) -> None:
        """Write the next rows: [any, dim], and as many `labels` where the file has a column of them."""
        if block.ndim != 2 or block.shape[1] != self.dim:
            raise ValueError(f"{self.path}: got a block of shape {list(block.shape)}, wanted [any, {self.dim}]")
        if self._written + len(block) > self.rows:
            raise ValueError(f"{self.path}: got {self._written + len(block)} rows, wanted {self.rows}")
        if (labels is None) != (self.labels is None) or (labels is not None and len(labels) != len(block)):
            wanted = "none" if self.labels is None else f"{len(block)}"
            raise ValueError(f"{self.path}: got {0 if labels is None else len(labels)} labels, wanted {wanted}")
        block = _exactly(block, self.dtype, str(self.path))
        if self._parquet is not None:
            import pyarrow as pa

            names = {} if self.labels is None else {self.labels: pa.array(labels, pa.string())}
            self._parquet.write_table(pa.table({**names, self.column: _arrow(block)}))
        else:
            assert self._file is not None, "append outside the with block"
            data = block if self.path.suffix == ".npy" else texmex.rows(block, self.path.suffix)
            self._file.write(np.ascontiguousarray(data).data)
        self._written += len(block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._written != self.rows:
            with self._stack:  # the file would lie about its length: drop it
                raise ValueError(f"{self.path}: got {self._written} rows, wanted {self.rows}")
        self._stack.__exit__(kind, error, trace)


def _exactly(block: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return the block as `dtype`: float to float is rounded, everything else must keep its value."""
    if block.dtype == dtype:
        return block
    with np.errstate(over="ignore", invalid="ignore"):
        out = block.astype(dtype)
    if dtype.kind == "f" and block.dtype.kind == "f":
        wrong = np.isinf(out) & np.isfinite(block)
    elif dtype.kind == "f":
        wrong = out.astype(np.float64) != block
    else:
        limits = np.iinfo(dtype)
        wrong = (block < limits.min) | (block > limits.max) | (out != block)
    if wrong.any():
        row, col = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{name}: got {block[row, col]} in row {row}, which {dtype} cannot hold")
    return out


def _arrow(array: NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).reshape(-1)), array.shape[1])
