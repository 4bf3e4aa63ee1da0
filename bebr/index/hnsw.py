"""A graph over codes: a walk from node to node scores a few thousand rows of millions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bebr import _core
from bebr.arrays import as_ids
from bebr.binarizer import Binarizer, Codes, PreparedQueries, Query
from bebr.index.base import Hits, Index, RangeHits, check_k, row_format

_EF = 64


class HNSWIndex(Index):
    """The best rows found by walking a graph whose nodes are codes (csrc/README.md, "Graph").

    neighbors: half of the links that a node may have, 1 to 256; each costs 4 bytes.
    ef_construction: candidates kept while a row is linked, at least 1; more make a better graph, more slowly.
    seed: of the order in which the rows of a batch are linked. The same calls give the same graph, whatever the number
    of threads.

    Named for what users look for; it is one flat layer with pruned links, as in DiskANN's Vamana, and links are chosen
    from the codes alone. Threads: any number may search while one adds or removes; a batch is found once ``add``
    returns. ``mmap=True`` of
    :func:`bebr.open_index` gives an index that refuses ``add``.
    """

    def __init__(self, binarizer: Binarizer, neighbors: int = 16, ef_construction: int = 128, seed: int = 0) -> None:
        self._binarizer = binarizer
        gram, mean, mean_norm = binarizer.code_space()
        self._engine: _core.GraphIndex = _core.GraphIndex(
            *row_format(binarizer),
            _whole("neighbors", neighbors, 256),
            _whole("ef_construction", ef_construction, 1 << 20),
            _whole("seed", seed, (1 << 63) - 1, least=0),
            gram,
            mean,
            mean_norm,
            float(binarizer.config["factor_scale"]),
            float(binarizer.config["factor_offset"]),
            binarizer.metric == "ip",
        )
        self._next_id = 0

    @property
    def neighbors(self) -> int:
        """Half of the links that a node may have."""
        return self._engine.neighbors

    @property
    def bytes_per_vector(self) -> int:
        """Bytes held for one vector: code, factors, links, rounded up to whole cache lines; ids not."""
        return self._engine.node_bytes

    def add(self, x: ArrayLike, ids: ArrayLike | None = None) -> None:
        codes = self._binarizer.encode(x)
        self.add_codes(codes, self._new_ids(len(codes)) if ids is None else ids)

    def add_codes(self, codes: Codes, ids: ArrayLike) -> None:
        self._binarizer._check_codes(codes)
        numbers = as_ids(ids, "ids", len(codes))
        self._engine.add(np.ascontiguousarray(codes.planes), codes.factor_rows(), numbers)
        self._took(numbers)

    def search(  # type: ignore[override]
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        query: Query = "float",
        ef: int | None = None,
        radius: float | None = None,
        allow: ArrayLike | None = None,
        binarizer: Binarizer | None = None,
    ) -> Hits:
        """The k best rows found for each query; fewer only where there are fewer.

        queries: float32[n, d] or [d]. query: ``"float"`` (ADC) or ``"code"`` (SDC, the paper's mode).
        ef: candidates kept while walking, at least k; more find more, more slowly. None: 64, or k if that is more.
        radius: only rows at least this similar (l2: at most this squared distance).
        allow: int64 ids; only these are found. binarizer: the model of the queries where it is a newer one than the
        codes' (:meth:`Binarizer.prepare_for`). Raises ``ValueError``; :class:`IncompatibleModel`.
        """
        prepared = (binarizer or self._binarizer).prepare_for(self._binarizer, queries, query)
        return self.search_prepared(prepared, k, ef=ef, radius=radius, allow=allow)

    def search_prepared(  # type: ignore[override]
        self,
        prepared: PreparedQueries,
        k: int,
        *,
        ef: int | None = None,
        radius: float | None = None,
        allow: ArrayLike | None = None,
    ) -> Hits:
        scores, ids = self._engine.search(
            prepared.y,
            prepared.base,
            check_k(k),
            _EF if ef is None else _whole("ef", ef, (1 << 31) - 1),
            None if allow is None else as_ids(allow, "allow"),
        )
        if radius is not None:
            outside = ~(scores > self._binarizer.engine_floors(radius, prepared)[:, None])
            scores[outside], ids[outside] = -np.inf, -1
        return Hits(self._binarizer.metric_scores(scores, prepared), ids)

    def search_range(
        self,
        queries: ArrayLike,
        radius: float,
        *,
        query: Query = "float",
        ef: int | None = None,
        allow: ArrayLike | None = None,
    ) -> RangeHits:
        """The rows found at least ``radius`` similar (l2: at most that squared distance): walks keep more and more rows
        until the last lies outside."""
        prepared = self._binarizer.prepare(queries, query)
        k = min(_EF, max(len(self), 1))
        while True:
            hits = self.search_prepared(prepared, k, ef=None if ef is None else max(ef, k), radius=radius, allow=allow)
            if k >= len(self) or not (hits.ids[:, -1] >= 0).any():
                break
            k = min(4 * k, len(self))
        found = hits.ids >= 0
        offsets = np.concatenate([[0], np.cumsum(found.sum(axis=1))]).astype(np.int64)
        return RangeHits(offsets, hits.scores[found], hits.ids[found])


def _whole(name: str, value: int, most: int, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: want an integer from {least} to {most}")
    return int(value)
