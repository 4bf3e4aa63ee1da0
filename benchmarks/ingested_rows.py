"""The rows of `benchmarks.ingest`: vectors as they are sent, and payloads of about 100 bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.datasets import Floats
from benchmarks.filters import blocks
from benchmarks.mixture import Mixture

__all__ = ["Rows"]

# More are made again whenever they are sent: 10^7 of 384 dimensions would take 8 GB.
MOST_HELD = 2_000_000
_BLOCK = 16_384


class Rows:
    """`count` rows of a mixture, in float16 until they are sent. `held`: whether all are in memory; where they are not,
    making them is part of what a client spends."""

    def __init__(self, source: Mixture, count: int, dtype: Any, most_held: int = MOST_HELD) -> None:
        self._source, self._count, self._dtype = source, count, dtype
        self.held = count <= most_held
        self._vectors = np.empty((count if self.held else 0, source.dim), np.float16)
        if self.held:
            for begin, block in blocks(source, count):
                self._vectors[begin : begin + len(block)] = block

    def __len__(self) -> int:
        return self._count

    def vectors(self, rows: slice) -> Any:
        """Of consecutive rows."""
        if self.held:
            return self._vectors[rows].astype(self._dtype, copy=False)
        made = np.empty((rows.stop - rows.start, self._source.dim), np.float16)
        done = 0
        for block in self._source.blocks(rows.start):
            some = block[: len(made) - done]
            made[done : done + len(some)] = some
            done += len(some)
            if done == len(made):
                break
        return made.astype(self._dtype, copy=False)

    def floats(self) -> Iterator[Floats]:
        """All vectors as float32, block by block."""
        for begin in range(0, self._count, _BLOCK):
            yield self.vectors(slice(begin, min(begin + _BLOCK, self._count))).astype(np.float32)

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
