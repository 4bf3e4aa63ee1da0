"""What a build begins with, by one process or by many: its source, and what is learnt from a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.bulk.budget import Budget
from bebr.bulk.options import Options
from bebr.bulk.passes import gathered, sampled
from bebr.bulk.work import FIRST_ROWS, fingerprint
from bebr.errors import LimitExceeded
from bebr.index.kmeans import kmeans
from bebr.index.raw import raw_bytes
from bebr.index.sizes import MOST_LISTS, parse_size, usual_lists
from bebr.training import train
from bebr.vectors import Blocks, VectorStream, stream

Source = str | Path | Sequence[str | Path] | NDArray[Any] | Blocks
_MOST_ROWS = (1 << 32) - 32


@dataclass(frozen=True)
class Setup:
    """``kept``: bytes of a vector beside its code."""

    options: Options
    vectors: VectorStream
    nlist: int
    ids: Ids | None
    budget: Budget
    kept: int

    @classmethod
    def of(cls, source: Source, options: Options, files: int = 1) -> Setup:
        """Opens the source. ``ValueError`` where it does not go with the options; ``LimitExceeded`` for more rows than
        so many files hold, or where the memory will not do."""
        bz = options.binarizer
        vectors = stream(source, options.column, options.rows)
        if vectors.rows > files * _MOST_ROWS:
            raise LimitExceeded(f"source has {vectors.rows:,} vectors: an index holds at most {_MOST_ROWS:,}")
        if bz is not None and bz.input_dim != vectors.dim:
            raise ValueError(f"source has {vectors.dim} dimensions: the binarizer takes {bz.input_dim}")
        nlist = _lists(options.nlist, vectors.rows)
        budget = Budget(parse_size(options.memory), vectors.dim, nlist)
        # Refuses vectors that cannot be kept. A model that is trained here keeps their dimensions.
        kept = raw_bytes(options.rescore, vectors.dim if bz is None else bz.inner_dim, bz)
        return cls(options, vectors, nlist, _own_ids(options.ids, vectors.rows), budget, kept)

    @property
    def chunk(self) -> int:
        """Rows that fit into the memory as they are stored."""
        bz = self.options.binarizer
        size = self.options.bytes_per_vector if bz is None else bz.bytes_per_vector
        return self.budget.chunk((size or 0) + self.kept)

    def fixed(self) -> dict[str, Any]:
        """What a build that goes on must have begun with."""
        options, ids = self.options, self.ids
        count = min(FIRST_ROWS, self.vectors.rows)
        first = gathered(self.vectors.blocks(0, count, count), count)
        return {
            "source": self.vectors.mark,
            "vectors": fingerprint(first),
            "nlist": self.nlist,
            "bytes_per_vector": options.bytes_per_vector,
            "binarizer": None if options.binarizer is None else options.binarizer.digest,
            "metric": options.model_metric,
            "ids": None if ids is None else fingerprint(ids),
            "optimize": options.optimize,
            "rescore": options.rescore,
            "seed": options.seed,
        }

    def model(self) -> Binarizer:
        """The one asked for, or one that is trained on a sample."""
        options = self.options
        if options.binarizer is not None:
            return options.binarizer
        blocks = sampled(self.vectors, self.budget.training, self.budget.block)
        x = gathered(blocks, min(self.budget.training, self.vectors.rows))
        return train(
            x,
            bytes_per_vector=options.bytes_per_vector,
            metric=options.model_metric,
            seed=options.seed,
            progress=options.report,
        )

    def centroids(self, bz: Binarizer) -> Floats:
        options, count = self.options, min(self.budget.sample, self.vectors.rows)
        options.report("reading a sample", 0, count)
        blocks = (bz.vectors(x) for x in sampled(self.vectors, count, self.budget.block))
        x = gathered(blocks, count)
        options.report("finding centroids", 0, self.nlist)
        return kmeans(x, self.nlist, options.seed, device=options.device)


def _lists(nlist: int | None, rows: int) -> int:
    if nlist is None:
        return usual_lists(rows)
    most = min(MOST_LISTS, rows)
    if isinstance(nlist, bool) or not isinstance(nlist, int | np.integer) or not 1 <= nlist <= most:
        raise ValueError(f"nlist is {nlist!r}: want an integer from 1 to {most}")
    return int(nlist)


def _own_ids(ids: ArrayLike | None, rows: int) -> Ids | None:
    """Checked in shape; a mapped array stays mapped."""
    if ids is None:
        return None
    array = np.asanyarray(ids)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.dtype == np.uint64:
        raise ValueError(f"ids has dtype {array.dtype} and shape {array.shape}: want int64 (n,)")
    if len(array) < rows:
        raise ValueError(f"ids has {len(array)} entries for {rows} vectors: want one each")
    return array[:rows]
