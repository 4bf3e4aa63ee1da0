"""Raw vectors beside an index of codes: the few best by code get exact scores.

They are what :meth:`bebr.Binarizer.vectors` gives, in float16 or int8 (csrc/index/raw/raw.h), and lie in the index's
file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import numpy as np

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer

RawType = Literal["float16", "int8"]


class RawVectors:
    """The vectors of one index. Both are changed under one lock, so that they hold the same ids."""

    def __init__(self, core: core.RawVectors, squared_distance: bool) -> None:
        self.core = core
        self.writing = threading.RLock()
        self._squared_distance = squared_distance

    @staticmethod
    def make(kind: RawType | None, bz: Binarizer) -> RawVectors | None:
        """An empty store, or None for None. ``ValueError`` for another kind, or without a decoder: then queries have no
        float form in the space of the codes."""
        if kind is None:
            return None
        _check_kind(kind, bz)
        return RawVectors(core.RawVectors(bz.inner_dim, kind), bz.metric == "l2")

    @property
    def kind(self) -> RawType:
        return "int8" if self.core.type == "int8" else "float16"

    @contextmanager
    def adding(self, vectors: Floats, ids: Ids, coded: Callable[[], bool]) -> Iterator[None]:
        """Adds ``vectors`` around the block that adds their codes, whose failure takes them back, unless these are
        there: ``coded``. Ctrl-C may come between any two steps.

        Vectors come first and go last: a search that finds a code finds its vector.
        """
        with self.writing:
            before = len(self.core)
            try:
                self.core.add(np.ascontiguousarray(vectors), ids)
                yield
            except BaseException:
                if len(self.core) > before and not coded():
                    self.core.remove(ids)
                raise

    @contextmanager
    def removing(self, ids: Ids, positions: Callable[[Ids], Ids]) -> Iterator[None]:
        """Removes the vectors of ``ids`` after the block that removes their codes; of those that are gone, where it is
        interrupted. positions: -1 for these."""
        with self.writing:
            try:
                yield
                self.core.remove(ids)
            except BaseException:
                self.core.remove(ids[positions(ids) < 0])
                raise

    def rescored(self, queries: Floats, candidates: Ids, k: int) -> tuple[Floats, Ids]:
        """The k best of ``candidates`` int64[n, c] (-1: none) by their exact scores, in the metric's own unit."""
        return self.core.rescore(queries, np.ascontiguousarray(candidates), k, self._squared_distance)


def raw_bytes(kind: RawType | None, dim: int, bz: Binarizer | None) -> int:
    """Bytes of a vector of ``dim`` dimensions kept as ``kind``; 0 for None. Errors as :meth:`RawVectors.make`, of which
    those of the binarizer wait until there is one."""
    if kind is None:
        return 0
    _check_kind(kind, bz)
    return int(core.RawVectors(dim, kind).row_bytes)


def _check_kind(kind: str, bz: Binarizer | None) -> None:
    if kind not in get_args(RawType):
        raise ValueError(f"rescore is {kind!r}: want None, 'float16' or 'int8'")
    if bz is not None and not bz.has_decoder:
        raise ValueError(f"rescore is {kind!r}: this binarizer has no decoder, so its vectors have no float scores")


def default_candidates(k: int) -> int:
    """How many of the best by code get exact scores unless a search says otherwise (csrc/collection/searcher.h)."""
    return core.default_candidates(k)


def check_rescore(rescore: int | None, k: int) -> int | None:
    """``rescore`` if it is None, 0 or an integer from k to 2^31 - 1, else ``ValueError``."""
    if rescore is None:
        return None
    if isinstance(rescore, bool) or not isinstance(rescore, int | np.integer) or not 0 <= rescore < 1 << 31:
        raise ValueError(f"rescore is {rescore!r}: want None, 0 or an integer from k ({k}) to 2147483647")
    if 0 < rescore < k:
        raise ValueError(f"rescore is {rescore}, fewer than k ({k}) results: want 0 (by code alone) or at least k")
    return int(rescore)
