"""The file that `bebr tag` writes: items, tags and votes, as Parquet or JSON lines; whole or not there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from bebr.extras import needed
from bebr.files import replacing
from bebr.vectors import check_output


class TagWriter:
    """Context manager; the file appears when it ends without an error."""

    def __init__(self, path: Path) -> None:
        self.path = check_output(path, ".parquet", ".jsonl")
        self._stack = ExitStack()
        self._file: Any = None

    def __enter__(self) -> TagWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path))
            if self.path.suffix == ".parquet":
                with needed("parquet", "a .parquet file"):
                    import pyarrow as pa
                    import pyarrow.parquet as pq

                self._schema = pa.schema(
                    [("item", pa.string()), ("tags", pa.list_(pa.string())), ("votes", pa.list_(pa.int32()))]
                )
                self._file = stack.enter_context(pq.ParquetWriter(temporary, self._schema))
            else:
                self._file = stack.enter_context(temporary.open("w", encoding="utf-8"))
            self._stack = stack.pop_all()
        return self

    def append(self, items: Sequence[str], chosen: Sequence[Sequence[tuple[str, int]]]) -> None:
        """Write rows: each item with its (tag, votes) pairs."""
        rows = [
            {"item": item, "tags": [tag for tag, _ in pairs], "votes": [votes for _, votes in pairs]}
            for item, pairs in zip(items, chosen, strict=True)
        ]
        if self.path.suffix == ".parquet":
            import pyarrow as pa

            self._file.write_table(pa.Table.from_pylist(rows, self._schema))
        else:
            self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
