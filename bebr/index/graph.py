"""A graph over codes: a walk from node to node scores a few thousand rows of millions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bebr import core
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import PreparedQueries, Query
from bebr.index.base import Hits, Index, RangeHits, check_integer, row_format
from bebr.index.raw import RawType, RawVectors

EF_SEARCH = 64
_MOST_LINKS, _MOST_INLINE = 512, 64


class GraphIndex(Index):
    """The best rows found by walking a graph whose nodes are codes (docs/architecture.md).

    max_degree: the largest number of links of a node, even, 2 to 512; each costs 4 bytes.
    ef_construction: candidates kept while a row is linked, at least 1; more make a better graph, more slowly.
    seed: of the order in which the rows of a batch are linked. The same calls give the same graph, whatever the number
    of threads.
    inline: bytes of each neighbour's code to keep beside the link, a multiple of 4 up to 64; all of a shorter code. A
    step of a search then reads one node in sequence instead of a line of every neighbour: more queries a second
    (docs/experiments/graph-inline.md) for about ``inline * max_degree`` bytes more a row. 32 is a good number, 0 none.

    The graph is one flat layer with pruned links, as in DiskANN's Vamana, chosen from the codes alone. ``HNSWIndex`` is
    another name of this class. Threads: any number may search while one adds or removes; a batch is found once ``add``
    returns. ``mmap=True`` of :func:`bebr.open_index` gives an index that refuses ``add``.
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
        self._binarizer = binarizer
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
        ef_search: candidates that a walk goes to in the mean, at least k; to more where a query's rows crowd, to fewer
        where they lie apart (docs/experiments/graph-reach.md). Larger is slower and recalls more. None: 64, or k if
        that is more.
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
