"""The rows of `benchmarks.ingest`: vectors as they are sent, and payloads of about 100 bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import Floats
from benchmarks.mixture import Mixture

__all__ = ["Rows"]

# More are in a file: 10^7 of 384 dimensions take 8 GB.
MOST_HELD = 2_000_000
_BLOCK = 65_536


class Rows:
    """`count` rows of a mixture, in float16 until they are sent: made once, for that takes longer than to send them.
    Where they are more than `most_held`, they are in a file of `folder`."""

    def __init__(self, source: Mixture, count: int, dtype: Any, folder: Path, most_held: int = MOST_HELD) -> None:
        self._source, self._dtype = source, dtype
        shape = count, source.dim
        if count <= most_held:
            self._vectors = np.empty(shape, np.float16)
        else:
            self._vectors = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float16, shape)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._make, range(0, count, _BLOCK)))

    def _make(self, begin: int) -> None:
        some = self._vectors[begin : begin + _BLOCK]
        some[:] = next(self._source.blocks(begin))[: len(some)]

    def __len__(self) -> int:
        return len(self._vectors)

    def vectors(self, rows: slice) -> Any:
        """Of consecutive rows."""
        return self._vectors[rows].astype(self._dtype, copy=False)

    def floats(self) -> Iterator[Floats]:
        """All vectors as float32, block by block."""
        for begin in range(0, len(self), _BLOCK):
            yield self._vectors[begin : begin + _BLOCK].astype(np.float32)

    @staticmethod
    def payloads(rows: slice) -> list[dict[str, Any]]:
        return [
            {
                "title": f"Title of row {row}",
                "lang": f"lang-{row % 100}",
                "year": 1950 + row % 75,
                "tags": [f"tag-{row % 50}"],
            }
            for row in range(rows.start, rows.stop)
        ]
