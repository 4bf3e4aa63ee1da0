"""Rows of a vector and further columns into Parquet, as many as come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.extras import needed
from bebr.files import replacing
from bebr.vectors.output import check_output


class RowWriter:
    """Context manager that writes float32 vectors in the column ``vector`` and what is known of each beside them.

    The first block's values say what type each further column has. The file appears when the block ends without an
    error, and has rows: none at all is a ValueError.
    """

    def __init__(self, path: str | Path, dim: int) -> None:
        self.path, self.dim, self.rows = check_output(path, ".parquet"), dim, 0
        self._stack = ExitStack()
        self._parquet: Any = None
        self._temporary = self.path

    def __enter__(self) -> RowWriter:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(replacing(self.path))
            self._temporary.touch()
            self._stack = stack.pop_all()
        return self

    def append(self, vectors: NDArray[np.float32], columns: Mapping[str, Sequence[Any]]) -> None:
        """Write the next rows: vectors [any, dim], and as many values in each of ``columns``.

        ValueError for another shape, other columns than those of the first block, or a value of another type.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(f"{self.path}: got a block of shape {list(vectors.shape)}, wanted [any, {self.dim}]")
        for name, values in columns.items():
            if name == "vector" or len(values) != len(vectors):
                wanted = f"{len(vectors)} and another name than 'vector'"
                raise ValueError(f"{self.path}: column '{name}': got {len(values)} values, wanted {wanted}")
        if not len(vectors):
            return
        with needed("parquet", "a .parquet file"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        numbers = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        held = {"vector": pa.FixedSizeListArray.from_arrays(numbers, self.dim)}
        try:
            if self._parquet is None:
                table = pa.table({**{name: pa.array(list(values)) for name, values in columns.items()}, **held})
                self._parquet = self._stack.enter_context(pq.ParquetWriter(self._temporary, table.schema))
            else:
                schema = self._parquet.schema
                first = [name for name in schema.names if name != "vector"]
                if list(columns) != first:
                    raise ValueError(f"{self.path}: got columns {', '.join(columns)}, wanted {', '.join(first)}")
                typed = {name: pa.array(list(values), schema.field(name).type) for name, values in columns.items()}
                table = pa.table({**typed, **held}, schema=schema)
        except pa.ArrowException as error:
            raise ValueError(f"{self.path}: after row {self.rows}: a value of another type: {error}") from error
        self._parquet.write_table(table)
        self.rows += len(vectors)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self.rows:
            with self._stack:
                raise ValueError(f"{self.path}: got no row, wanted at least one")
        self._stack.__exit__(kind, error, trace)
