"""Rows of a .jsonl or Parquet file as JSON objects, in order and never all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from bebr.cli.items import count_json_lines, json_lines
from bebr.extras import needed

Record = dict[str, Any]

_BATCH_ROWS = 4096


class Records:
    """`rows` objects of a file; each iteration begins anew.

    columns: the keys of each, None for all. Nulls of a Parquet file are left out; its dates and times are ISO text.
    ValueError for another suffix, a column that is not there, or a line that is no JSON object; FileNotFoundError.
    """

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file")
        self.path = path
        self.columns = None if columns is None else list(columns)
        if path.suffix == ".jsonl":
            self.rows = count_json_lines(path)
        elif path.suffix == ".parquet":
            self.rows = self._parquet_rows()
        else:
            raise ValueError(f"{path}: got suffix '{path.suffix}', wanted .jsonl or .parquet")

    def __iter__(self) -> Iterator[Record]:
        return self._lines() if self.path.suffix == ".jsonl" else self._rows()

    def _lines(self) -> Iterator[Record]:
        for _, record in json_lines(self.path):
            yield record if self.columns is None else {key: record[key] for key in self.columns if key in record}

    def _parquet_rows(self) -> int:
        with needed("parquet", "a .parquet file"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                names, rows = file.schema_arrow.names, int(file.metadata.num_rows)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path}: not a readable Parquet file: {error}") from error
        for column in self.columns or ():
            if column not in names:
                raise ValueError(f"{self.path}: column '{column}' is not there; columns: {', '.join(names[:20])}")
        return rows

    def _rows(self) -> Iterator[Record]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            try:
                for batch in file.iter_batches(_BATCH_ROWS, columns=self.columns):
                    for row in batch.to_pylist():
                        yield {key: _as_json(value) for key, value in row.items() if value is not None}
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{self.path}: cannot be decoded: {error}") from error


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return value
