"""Vectors kept beside the codes of a collection, as bytes a row: what exact scores, `vectors=True`, retraining and
migration read.

They are what the caller gave, for cosine scaled to unit length, in float16 or int8 (csrc/index/raw/raw.h).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats, Ids, normalized
from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile
from bebr.index import Hits
from bebr.index.files import Sections
from bebr.index.raw import RawType
from bebr.lazy import lazy_property

Rows = NDArray[np.uint8]

_BLOCK = 1024
_LOST = 2.0**-25  # what float16 rounds to 0


@dataclass(frozen=True)
class Keeping:
    """How a collection keeps its vectors: `kind`, dimensions, and whether they are of `unit` length."""

    kind: RawType
    dim: int
    unit: bool

    @staticmethod
    def of(kind: RawType | None, bz: Binarizer) -> Keeping | None:
        """For rows of a model; None where none are kept. ValueError for another kind, or a model whose codes have no
        float scores."""
        if kind is None:
            return None
        if kind not in get_args(RawType):
            raise ValueError(f"keep is {kind!r}: want None, 'float16' or 'int8'")
        if not bz.has_decoder:
            raise ValueError(f"keep is {kind!r}: this binarizer has no decoder, so its vectors have no float scores")
        return Keeping(kind, bz.input_dim, bz.metric == "cosine")

    @lazy_property
    def row_bytes(self) -> int:
        """Of one vector."""
        return int(core.store_raw(np.zeros((1, self.dim), np.float32), self.kind).shape[1])

    @property
    def section(self) -> str:
        """Its name in a segment file."""
        return f"kept_{self.kind}"

    def stored(self, vectors: Floats) -> Rows:
        """float32[n, dim] as uint8[n, row_bytes]. ValueError for a value that the kind does not hold."""
        if not self.unit and self.kind == "float16":
            _check_not_lost(vectors)
        return core.store_raw(normalized(vectors) if self.unit else vectors, self.kind)

    def vectors(self, rows: Rows) -> Floats:
        """What is stored, float32[n, dim]."""
        return core.load_raw(rows, self.kind)

    def best(self, bz: Binarizer, rows: Rows, ids: Ids, queries: Floats, which: Ids, k: int) -> Hits:
        """The k best by exact scores for each of `queries` float32[n, inner_dim], in the space that `bz` scores in: of
        the rows numbered `which` int64[n, c] (−1: none) among the stored `rows`, which have the distinct `ids`."""
        kind = self.kind
        if bz.has_adapter:
            rows, kind = core.store_raw(bz.vectors(self.vectors(rows)), "float16"), "float16"
        found = core.raw_best(rows, kind, ids, np.ascontiguousarray(queries), which, k, bz.metric == "l2")
        return Hits(*found)

    def read(self, sections: Sections, rows: int, source: str) -> Rows:
        """Of a segment file, in place. CorruptFile where they are missing, or of another number."""
        found = sections.get(self.section)
        if found is None:
            raise CorruptFile(f"{source}: section {self.section!r} is missing: its collection keeps vectors")
        if len(found) != rows * self.row_bytes:
            raise CorruptFile(
                f"{source}: section {self.section!r} has {len(found)} bytes: want {rows} rows of {self.row_bytes}"
            )
        return found.reshape(rows, self.row_bytes)


def _check_not_lost(vectors: Floats) -> None:
    """ValueError for a vector of which float16 would leave only zeros."""
    few = np.flatnonzero(np.einsum("ij,ij->i", vectors, vectors) < vectors.shape[1] * _LOST**2)
    lost = few[(np.abs(vectors[few]) <= _LOST).all(axis=1) & vectors[few].any(axis=1)]
    if len(lost):
        raise ValueError(
            f"vector {lost[0]} has no value that float16 can hold: want some above {_LOST:.2g}, or keep='int8'"
        )


class KeptBlocks:
    """Rows in memory that are only appended to. One thread appends; any number take rows that were there before."""

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._blocks: list[Rows] = []
        self._rows = 0

    def append(self, rows: Rows) -> None:
        done = 0
        while done < len(rows):
            at = self._rows % _BLOCK
            if at == 0:
                self._blocks.append(np.empty((_BLOCK, self._row_bytes), np.uint8))
            count = min(_BLOCK - at, len(rows) - done)
            self._blocks[-1][at : at + count] = rows[done : done + count]
            self._rows += count
            done += count

    @property
    def blocks(self) -> Sequence[Rows]:
        """Of 1,024 rows each. The rows past those that were appended are undefined."""
        return self._blocks

    def take(self, which: Ids) -> Rows:
        """The rows at positions `which` int64[n], uint8[n, row_bytes]."""
        taken = np.empty((len(which), self._row_bytes), np.uint8)
        blocks = which // _BLOCK
        for block in np.unique(blocks).tolist():
            here = blocks == block
            taken[here] = core.take_rows(self._blocks[block], which[here] - block * _BLOCK)
        return taken
