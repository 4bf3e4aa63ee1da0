"""Indexes over codes. Conventions of the field: float32 in, (scores, ids) out, int64 ids, -1 for a missing result."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bebr import _core
from bebr.arrays import Floats, Ids, as_ids
from bebr.binarizer import Binarizer, Codes, PreparedQueries, Query
from bebr.errors import CorruptFile
from bebr.factors import ByteCode

Refine = int | Literal["exact"] | None

# Fewer survivors than this a query are not worth saving.
_FEWEST_SURVIVORS = 64


class Hits(NamedTuple):
    """Results of a search, best first: scores float32[n, k] (l2: squared distances, ascending) and ids int64[n, k].

    Where fewer than k results exist, the id is -1 and the score -inf (l2: +inf).
    """

    scores: Floats
    ids: Ids


class FlatIndex:
    """Every code is scored; nothing is missed but what the codes themselves lose.

    search() reads the sign plane of every row and all planes of the best few (``refine``). Threads: any number may
    search
    while one adds or removes. ``mmap=True`` of :func:`open_index` gives an index that refuses ``add``.
    """

    def __init__(self, binarizer: Binarizer) -> None:
        self._binarizer = binarizer
        self._core = _core.FlatIndex(
            list(binarizer.widths),
            binarizer.factor,
            binarizer.stage_factor,
            binarizer.factor_bytes,
            _pair(binarizer.byte_code("factor_code")),
            _pair(binarizer.byte_code("stage_factor_code")),
        )
        self._next_id = 0

    @property
    def binarizer(self) -> Binarizer:
        """The model of every code in this index."""
        return self._binarizer

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, id: int) -> bool:
        return self._core.contains(id)

    def add(self, x: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Add vectors float32[n, d] under ``ids`` int64[n], by default the next numbers after the largest id so far.

        ``ValueError`` for a wrong shape, NaN, or an id that is negative, repeated or present; then nothing is added.
        """
        codes = self._binarizer.encode(x)
        self.add_codes(codes, self._new_ids(len(codes)) if ids is None else ids)

    def add_codes(self, codes: Codes, ids: ArrayLike) -> None:
        """Add codes of this index's binarizer. Errors as :meth:`add`."""
        self._binarizer._check_codes(codes)
        numbers = as_ids(ids, "ids", len(codes))
        self._core.add(np.ascontiguousarray(codes.planes), codes.factor_rows(), numbers)
        if len(numbers):
            self._next_id = max(self._next_id, int(numbers.max()) + 1)

    def _new_ids(self, count: int) -> Ids:
        return np.arange(self._next_id, self._next_id + count, dtype=np.int64)

    def remove(self, ids: ArrayLike) -> int:
        """Remove ``ids`` int64[n]; those not present are passed over. Returns how many were removed; the space comes
        back."""
        return self._core.remove(as_ids(ids, "ids"))

    def codes(self) -> tuple[Codes, Ids]:
        """Copies of every code and its id, in row order."""
        planes, factors, ids = self._core.rows()
        return Codes.of_rows(planes, factors, self._binarizer.factor_bytes), ids

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        query: Query = "float",
        refine: Refine = None,
        allow: ArrayLike | None = None,
        binarizer: Binarizer | None = None,
    ) -> Hits:
        """The k best rows for each query.

        queries: float32[n, d] or [d]. query: ``"float"`` (ADC) or ``"code"`` (SDC, the paper's mode).
        refine: rows completed over all planes after the sign plane, as a multiple of k; None: the number measured at
        training;
        ``"exact"``: every row that an upper bound on its score cannot rule out, so the result equals scoring all
        planes of all rows.
        allow: int64 ids; only these are considered.
        binarizer: the model of the queries where it is a newer one than the codes'; the scores come out as on its own
        codes (:meth:`Binarizer.prepare_for`). Raises ``ValueError``; :class:`IncompatibleModel`.
        """
        prepared = (binarizer or self._binarizer).prepare_for(self._binarizer, queries, query)
        return self.search_prepared(prepared, k, refine=refine, allow=allow)

    def search_prepared(
        self, prepared: PreparedQueries, k: int, *, refine: Refine = None, allow: ArrayLike | None = None
    ) -> Hits:
        """:meth:`search` for queries that :meth:`Binarizer.prepare` has already brought into code space."""
        scores, ids = self._core.search(
            prepared.y,
            prepared.base,
            prepared.stage_y,
            prepared.stage_base,
            check_k(k),
            self._survivors(k, refine),
            None if allow is None else as_ids(allow, "allow"),
        )
        return Hits(self._binarizer.metric_scores(scores, prepared), ids)

    def _survivors(self, k: int, refine: Refine) -> int:
        if refine is None:
            return max(self._binarizer.survivors(len(self)), _FEWEST_SURVIVORS, 4 * k)
        if refine == "exact":
            return 0
        if isinstance(refine, bool) or not isinstance(refine, int) or refine < 1:
            raise ValueError(f"refine is {refine!r}: want None, an integer >= 1 or 'exact'")
        return min(refine * k, max(len(self), 1))

    def save(self, path: str | Path) -> None:
        """Write the index and its binarizer to one checksummed file; the old file stays until the new one is whole."""
        self._core.save(str(path), {"model": self._binarizer.to_bytes()})


def check_k(k: int) -> int:
    """``k`` if it is an integer from 1 to 2^31 - 1, else ``ValueError``."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k < 1 << 31:
        raise ValueError(f"k is {k!r}: want an integer from 1 to 2147483647")
    return int(k)


def open_index(path: str | Path, mmap: bool = True, verify: bool = False) -> FlatIndex:
    """Open a file written by :meth:`FlatIndex.save`.

    mmap: rows stay in the file, read on demand; header, sizes and section table are checked, contents only with
    ``verify``.
    mmap=False reads all of it, checks every byte, and allows ``add``. ``FileNotFoundError``; ``CorruptFile`` names
    path and section.
    """
    core, extra = _core.open_flat(str(path), mmap, verify)
    if "model" not in extra:
        raise CorruptFile(f"{path}: section 'model' is missing")
    index = FlatIndex.__new__(FlatIndex)
    index._binarizer = Binarizer.from_bytes(extra["model"], f"{path}: section 'model'")
    if tuple(core.widths) != index._binarizer.widths:
        raise CorruptFile(
            f"{path}: codes of widths {core.widths} beside a model of widths {list(index._binarizer.widths)}"
        )
    if core.factor_bytes != index._binarizer.factor_bytes:
        raise CorruptFile(
            f"{path}: factors of {core.factor_bytes} bytes beside a model of {index._binarizer.factor_bytes}"
        )
    index._core = core
    # A mapped index takes no new rows, so it need not read all ids for the next free one.
    index._next_id = 0 if mmap else core.max_id + 1
    return index


def _pair(code: ByteCode | None) -> tuple[int, int]:
    return (0, 1) if code is None else (code.low, code.step)
