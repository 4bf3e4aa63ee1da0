"""What the indexes over codes share. Conventions of the field: float32 in, (scores, ids) out, int64 ids, -1 for a
missing result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, Ids, as_ids
from bebr.binarizer import Binarizer, Codes, PreparedQueries
from bebr.factors import ByteCode


class Hits(NamedTuple):
    """Results of a search, best first: scores float32[n, k] (l2: squared distances, ascending) and ids int64[n, k].

    Where fewer than k results exist, the id is -1 and the score -inf (l2: +inf).
    """

    scores: Floats
    ids: Ids


class RangeHits(NamedTuple):
    """Results of a range search: offsets int64[n + 1], scores float32[total], ids int64[total].

    Those of query i are ``scores[offsets[i]:offsets[i + 1]]`` and the same of ``ids``, best first.
    """

    offsets: Ids
    scores: Floats
    ids: Ids


class Core(Protocol):
    """What every index of the extension offers."""

    def __len__(self) -> int: ...
    @property
    def widths(self) -> list[int]: ...
    @property
    def factor_bytes(self) -> int: ...
    @property
    def max_id(self) -> int: ...
    def remove(self, ids: NDArray[np.int64]) -> int: ...
    def contains(self, id: int) -> bool: ...
    def rows(
        self, ids: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]: ...
    def save(self, path: str, extra: dict[str, bytes]) -> None: ...


class Index(ABC):
    """Rows of codes under int64 ids. Threads: any number may search while one adds or removes."""

    _binarizer: Binarizer
    _engine: Core
    _next_id: int

    @property
    def binarizer(self) -> Binarizer:
        """The model of every code in this index."""
        return self._binarizer

    def __len__(self) -> int:
        return len(self._engine)

    def __contains__(self, id: int) -> bool:
        return self._engine.contains(id)

    @abstractmethod
    def add(self, x: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Add vectors float32[n, d] under ``ids`` int64[n], by default the next numbers after the largest id so far.

        ``ValueError`` for a wrong shape, NaN, or an id that is negative, repeated or present; then nothing is added.
        """

    @abstractmethod
    def add_codes(self, codes: Codes, ids: ArrayLike) -> None:
        """Add codes of this index's binarizer. Errors as :meth:`add`."""

    def _new_ids(self, count: int) -> Ids:
        return np.arange(self._next_id, self._next_id + count, dtype=np.int64)

    def _took(self, ids: Ids) -> None:
        if len(ids):
            self._next_id = max(self._next_id, int(ids.max()) + 1)

    def remove(self, ids: ArrayLike) -> int:
        """Remove ``ids`` int64[n]; those not present are passed over. Returns how many were removed; the space comes
        back."""
        return self._engine.remove(as_ids(ids, "ids"))

    def codes(self, ids: ArrayLike | None = None) -> tuple[Codes, Ids]:
        """Copies of codes and their ids: of ``ids`` int64[n] in that order, or of every row in the index's own order.

        ``KeyError`` names an id that is not here.
        """
        planes, factors, numbers = self._engine.rows(None if ids is None else as_ids(ids, "ids"))
        return Codes.of_rows(planes, factors, self._binarizer.factor_bytes), numbers

    @abstractmethod
    def search(self, queries: ArrayLike, k: int = 10, **options: Any) -> Hits:
        """The k best rows for each query float32[n, d]; options are the index's own."""

    @abstractmethod
    def search_prepared(self, prepared: PreparedQueries, k: int, **options: Any) -> Hits:
        """:meth:`search` for queries that :meth:`Binarizer.prepare` has already brought into code space."""

    def search_ids(self, ids: ArrayLike, k: int = 10, **options: Any) -> Hits:
        """The k rows most like each row of ``ids`` int64[n], itself left out: what its code stands for is the query.

        options: those of :meth:`search` but ``query`` and ``binarizer``. ``KeyError`` names an id that is not here.
        """
        codes, numbers = self.codes(ids)
        if len(numbers) == 0:
            raise ValueError("ids is empty: want at least one id")
        prepared = self._binarizer.prepare_vectors(self._binarizer.reconstructed(codes))
        hits = self.search_prepared(prepared, check_k(k) + 1, **options)
        # Itself is among the results, or was not allowed, or a twin with a smaller id was last in its place.
        others = hits.ids != numbers[:, None]
        others[others.all(axis=1), -1] = False
        shape = (len(numbers), k)
        return Hits(hits.scores[others].reshape(shape), hits.ids[others].reshape(shape))

    def save(self, path: str | Path) -> None:
        """Write the index and its binarizer to one checksummed file; the old file stays until the new one is whole."""
        self._engine.save(str(path), {"model": self._binarizer.to_bytes()})


def row_format(bz: Binarizer) -> tuple[list[int], str, bool, int, tuple[int, int], tuple[int, int]]:
    """What the extension must know of a binarizer's codes."""
    return (
        list(bz.widths),
        bz.factor,
        bz.stage_factor,
        bz.factor_bytes,
        _pair(bz.byte_code("factor_code")),
        _pair(bz.byte_code("stage_factor_code")),
    )


def check_k(k: int) -> int:
    """``k`` if it is an integer from 1 to 2^31 - 1, else ``ValueError``."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k < 1 << 31:
        raise ValueError(f"k is {k!r}: want an integer from 1 to 2147483647")
    return int(k)


def _pair(code: ByteCode | None) -> tuple[int, int]:
    return (0, 1) if code is None else (code.low, code.step)
