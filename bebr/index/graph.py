"""A graph over codes: a walk from node to node scores a few thousand rows of millions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bebr import core
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import PreparedQueries, Query
from bebr.index.base import Hits, Index, RangeHits, check_binarizer, check_integer, row_format
from bebr.index.raw import RawType, RawVectors

EF_SEARCH = 64
_MOST_LINKS, _MOST_INLINE = 512, 64


class GraphIndex(Index):
    """An index that finds rows by walking a graph whose nodes are codes (docs/architecture.md).

    >>> index = bebr.GraphIndex(bz)
    >>> index.add(x)
    >>> scores, ids = index.search(queries, 10, ef_search=64)

    max_degree: the largest number of links of a node, even, 2 to 512; each costs 4 bytes.
    ef_construction: candidates kept while a row is linked, at least 1; more make a better graph, more slowly.
    seed: of the order in which the rows of a batch are linked. The same calls give the same graph with any number of
        threads.
    inline: bytes of each neighbour's code to store in the node, a multiple of 4 up to 64; 0, the default, stores none.
        A search step then reads one node in sequence instead of a line of every neighbour. That takes about
        ``inline * max_degree`` bytes more per row, and is faster on some machines; try 32
        (docs/experiments/graph-inline.md).

    The graph is one flat layer with pruned links, as in DiskANN's Vamana, computed from the codes alone.
    ``HNSWIndex`` is another name of this class. Any number of threads may search while one adds or removes; a batch can
    be found when ``add`` returns. An index opened by :func:`bebr.open_index` with ``mmap=True`` refuses ``add``.
    """

    def __init__(
        self,
        binarizer: Binarizer,
        max_degree: int = 32,
        ef_construction: int = 128,
        seed: int = 0,
        *,
        inline: int = 0,
        rescore: RawType | None = None,
    ) -> None:
        self._binarizer = check_binarizer(binarizer)
        self._raw = RawVectors.make(rescore, binarizer)
        gram, mean, mean_norm = binarizer.code_space()
        self._engine = core.Index.graph(
            row_format(binarizer),
            _check_max_degree(max_degree),
            check_integer("ef_construction", ef_construction, 1 << 20),
            check_integer("seed", seed, (1 << 63) - 1, least=0),
            _check_inline(inline),
            gram,
            mean,
            mean_norm,
            float(binarizer.config["factor_scale"]),
            float(binarizer.config["factor_offset"]),
            binarizer.metric == "ip",
        )
        self._next_id = 0

    @property
    def max_degree(self) -> int:
        """The largest number of links of a node."""
        return self._engine.max_degree

    @property
    def inline(self) -> int:
        """Bytes of each neighbour's code in a node."""
        return self._engine.inlined

    @property
    def bytes_per_vector(self) -> float:
        """Bytes held for one vector: code, factors, links, neighbours' bytes, rounded up to whole cache lines, and the
        raw vector; ids not."""
        return self._engine.node_bytes + self._raw_bytes

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        query: Query = "float",
        ef_search: int | None = None,
        radius: float | None = None,
        allow: ArrayLike | None = None,
        rescore: int | None = None,
        binarizer: Binarizer | None = None,
    ) -> Hits:
        """The k best rows found for each query; fewer only where there are fewer.

        queries: float32[n, d] or [d]. query: ``"float"`` (ADC) or ``"code"`` (SDC, the paper's mode).
        ef_search: mean number of candidates that a walk visits, at least k: more where rows are dense, fewer where they
            are sparse (docs/experiments/graph-reach.md). Larger is slower and recalls more. None: 64, or k if that is
            more.
        radius: only rows at least this similar (l2: at most this squared distance).
        allow: int64 ids; only these are found. rescore: as in :meth:`FlatIndex.search`.
        binarizer: the model of the queries where it is a newer one than the codes' (:meth:`Binarizer.prepare_for`).
        Raises ``ValueError``; :class:`IncompatibleModel`.
        """
        prepared = (binarizer or self._binarizer)._given(self._binarizer, queries, query)
        return self.search_prepared(prepared, k, ef_search=ef_search, radius=radius, allow=allow, rescore=rescore)

    def search_prepared(
        self,
        prepared: PreparedQueries,
        k: int,
        *,
        ef_search: int | None = None,
        radius: float | None = None,
        allow: ArrayLike | None = None,
        rescore: int | None = None,
        batch_invariant: bool = False,
    ) -> Hits:
        """:meth:`search` for queries that :meth:`Binarizer.prepare` has already projected into code space.

        batch_invariant: as in :meth:`FlatIndex.search_prepared`.
        """
        candidates = self._candidates(prepared, k, rescore)
        ef = EF_SEARCH if ef_search is None else check_integer("ef_search", ef_search, (1 << 31) - 1)
        return self._found(
            prepared, k, candidates, radius, allow, batch_invariant=batch_invariant, ef_search=max(candidates, ef)
        )

    def search_range(
        self,
        queries: ArrayLike,
        radius: float,
        *,
        query: Query = "float",
        ef_search: int | None = None,
        allow: ArrayLike | None = None,
    ) -> RangeHits:
        """The rows found at least ``radius`` similar (l2: at most that squared distance): walks keep more and more rows
        until the last lies outside."""
        prepared = self._binarizer.prepare(queries, query)
        k = min(EF_SEARCH, max(len(self), 1))
        while True:
            hits = self.search_prepared(
                prepared,
                k,
                ef_search=None if ef_search is None else max(ef_search, k),
                radius=radius,
                allow=allow,
                rescore=0,
            )
            if k >= len(self) or not (hits.ids[:, -1] >= 0).any():
                break
            k = min(4 * k, len(self))
        found = hits.ids >= 0
        offsets = np.concatenate([[0], np.cumsum(found.sum(axis=1))]).astype(np.int64)
        return RangeHits(offsets, hits.scores[found], hits.ids[found])


def _check_max_degree(max_degree: int) -> int:
    value = check_integer("max_degree", max_degree, _MOST_LINKS, least=2)
    if value % 2:
        raise ValueError(f"max_degree is {max_degree}: want an even integer from 2 to {_MOST_LINKS}")
    return value


def _check_inline(inline: int) -> int:
    value = check_integer("inline", inline, _MOST_INLINE, least=0)
    if value % 4:
        raise ValueError(f"inline is {inline}: want a multiple of 4 from 0 to {_MOST_INLINE}")
    return value
