"""A graph over codes: a walk from node to node scores a few thousand rows of millions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from bebr import _core
from bebr.arrays import Ids, as_ids
from bebr.binarizer import Binarizer, Codes, PreparedQueries, Query
from bebr.errors import CorruptFile
from bebr.index import Hits, _pair, check_k

_EF = 64


class HNSWIndex:
    """The best rows found by walking a graph whose nodes are codes (csrc/README.md, "Graph").

    neighbors: half of the links that a node may have, 1 to 256; each costs 4 bytes.
    ef_construction: candidates kept while a row is linked, at least 1; more make a better graph, more slowly.
    seed: of the order in which the rows of a batch are linked. The same calls give the same graph, whatever the number
    of threads.

    Named for what users look for; it is one flat layer with pruned links, as in DiskANN's Vamana, and links are chosen
    from the codes alone. Threads: any number may search while one adds or removes; a batch is found once ``add``
    returns. ``mmap=True`` of :func:`open_hnsw` gives an index that refuses ``add``.
    """

    def __init__(self, binarizer: Binarizer, neighbors: int = 16, ef_construction: int = 128, seed: int = 0) -> None:
        self._binarizer = binarizer
        gram, mean, mean_norm = binarizer.code_space()
        self._core = _core.GraphIndex(
            list(binarizer.widths),
            binarizer.factor,
            binarizer.stage_factor,
            binarizer.factor_bytes,
            _pair(binarizer.byte_code("factor_code")),
            _pair(binarizer.byte_code("stage_factor_code")),
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
    def binarizer(self) -> Binarizer:
        """The model of every code in this index."""
        return self._binarizer

    @property
    def neighbors(self) -> int:
        """Half of the links that a node may have."""
        return self._core.neighbors

    @property
    def bytes_per_vector(self) -> int:
        """Bytes held for one vector: code, factors, links, rounded up to whole cache lines; ids not."""
        return self._core.node_bytes

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, id: int) -> bool:
        return self._core.contains(id)

    def add(self, x: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Add vectors float32[n, d] under ``ids`` int64[n], by default the next numbers after the largest id so far.

        ``ValueError`` for a wrong shape, NaN, or an id that is negative, repeated or present; then nothing is added.
        """
        codes = self._binarizer.encode(x)
        fresh = np.arange(self._next_id, self._next_id + len(codes), dtype=np.int64)
        self.add_codes(codes, fresh if ids is None else ids)

    def add_codes(self, codes: Codes, ids: ArrayLike) -> None:
        """Add codes of this index's binarizer. Errors as :meth:`add`."""
        self._binarizer._check_codes(codes)
        numbers = as_ids(ids, "ids", len(codes))
        self._core.add(np.ascontiguousarray(codes.planes), codes.factor_rows(), numbers)
        if len(numbers):
            self._next_id = max(self._next_id, int(numbers.max()) + 1)

    def remove(self, ids: ArrayLike) -> int:
        """Remove ``ids`` int64[n]; those not present are passed over. Returns how many were removed.

        Once one row in sixteen is gone, their neighbours are linked anew and later rows take their space.
        """
        return self._core.remove(as_ids(ids, "ids"))

    def codes(self) -> tuple[Codes, Ids]:
        """Copies of every code and its id."""
        planes, factors, ids = self._core.rows()
        return Codes.of_rows(planes, factors, self._binarizer.factor_bytes), ids

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        query: Query = "float",
        ef: int | None = None,
        allow: ArrayLike | None = None,
        binarizer: Binarizer | None = None,
    ) -> Hits:
        """The k best rows found for each query; fewer only where there are fewer.

        queries: float32[n, d] or [d]. query: ``"float"`` (ADC) or ``"code"`` (SDC, the paper's mode).
        ef: candidates kept while walking, at least k; more find more, more slowly. None: 64, or k if that is more.
        allow: int64 ids; only these are found. binarizer: the model of the queries where it is a newer one than the
        codes' (:meth:`Binarizer.prepare_for`). Raises ``ValueError``; :class:`IncompatibleModel`.
        """
        prepared = (binarizer or self._binarizer).prepare_for(self._binarizer, queries, query)
        return self.search_prepared(prepared, k, ef=ef, allow=allow)

    def search_prepared(
        self, prepared: PreparedQueries, k: int, *, ef: int | None = None, allow: ArrayLike | None = None
    ) -> Hits:
        """:meth:`search` for queries that :meth:`Binarizer.prepare` has already brought into code space."""
        scores, ids = self._core.search(
            prepared.y,
            prepared.base,
            check_k(k),
            _EF if ef is None else _whole("ef", ef, (1 << 31) - 1),
            None if allow is None else as_ids(allow, "allow"),
        )
        return Hits(self._binarizer.metric_scores(scores, prepared), ids)

    def save(self, path: str | Path) -> None:
        """Write the index and its binarizer to one checksummed file; the old file stays until the new one is whole."""
        self._core.save(str(path), {"model": self._binarizer.to_bytes()})


def open_hnsw(path: str | Path, mmap: bool = True, verify: bool = False) -> HNSWIndex:
    """Open a file written by :meth:`HNSWIndex.save`; arguments and errors as :func:`bebr.open_index`."""
    core, extra = _core.open_graph(str(path), mmap, verify)
    if "model" not in extra:
        raise CorruptFile(f"{path}: section 'model' is missing")
    index = HNSWIndex.__new__(HNSWIndex)
    index._binarizer = Binarizer.from_bytes(extra["model"], f"{path}: section 'model'")
    mine = (tuple(core.widths), core.factor_bytes)
    if mine != (index._binarizer.widths, index._binarizer.factor_bytes):
        raise CorruptFile(
            f"{path}: codes of widths {core.widths} and factors of {core.factor_bytes} bytes beside a model of widths "
            f"{list(index._binarizer.widths)} and {index._binarizer.factor_bytes}"
        )
    index._core = core
    index._next_id = 0 if mmap else core.max_id + 1
    return index


def _whole(name: str, value: int, most: int, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: want an integer from {least} to {most}")
    return int(value)
