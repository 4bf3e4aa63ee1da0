"""MaxSimIndex: documents of several vectors each, over any index of their codes.

The score of a document is the sum, over the query's vectors, of the best similarity among the document's vectors
(late interaction: Khattab and Zaharia 2020, arXiv 2004.12832, section 3.3). Under l2 it is the sum of least squared
distances.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, Ids, as_ids, as_vectors
from bebr.attributes import KnownAttributes
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes, Query
from bebr.errors import CorruptFile
from bebr.index.base import Hits, Index, check_integer, check_k
from bebr.index.files import open_index
from bebr.index.flat import FlatIndex

# A row's id holds its document's, and its place there in the low bits; the mark tells such rows from any others.
_PLACE_BITS = 16
_MARK = 1 << 62
_MAX_VECTORS = 1 << _PLACE_BITS
_MAX_DOCUMENTS = _MARK >> _PLACE_BITS
_FEWEST_CANDIDATES = 64


class MaxSimIndex(KnownAttributes):
    """Documents, each of one or more vectors, under int64 ids from 0 to 2^46 - 1.

    >>> index = bebr.MaxSimIndex(bebr.FlatIndex(bz))
    >>> index.add(documents)  # a list of float32[v, d]
    >>> scores, ids = index.search(query, 10)  # float32[v, d]

    index: any :class:`Index`, empty or with the rows of an earlier MaxSimIndex. It belongs to this one from then on.

    A search finds the rows nearest to each vector of the query, and scores every document that has one of these rows by
    all codes of all its vectors. Any number of threads may search at once; ``add`` and ``remove`` must not run during a
    search.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._sizes = _sizes(index.codes()[1])

    def __copy__(self) -> MaxSimIndex:
        return MaxSimIndex(copy.copy(self._index))

    @property
    def index(self) -> Index:
        """The index of the vectors. Its ids are of this class's own making."""
        return self._index

    @property
    def binarizer(self) -> Binarizer:
        """The model of every code."""
        return self._index.binarizer

    @property
    def vectors(self) -> int:
        """Vectors of all documents together."""
        return len(self._index)

    def __len__(self) -> int:
        """Documents."""
        return len(self._sizes)

    def __contains__(self, id: int) -> bool:
        return id in self._sizes

    def add(self, documents: Sequence[ArrayLike] | NDArray[Any], ids: ArrayLike | None = None) -> None:
        """Add documents float32[v, d] each, v from 1 to 65,536 and not the same for all, under ``ids`` int64[n]; by
        default the next numbers after the largest id.

        ``ValueError`` for a wrong shape, NaN, a document without vectors, or an id that is out of range, repeated or
        present; then nothing is added.
        """
        given = _each(documents, "documents", self.binarizer.input_dim)
        start = max(self._sizes, default=-1) + 1
        numbers = np.arange(start, start + len(given)) if ids is None else as_ids(ids, "ids", len(given))
        if not given:
            return
        if numbers.min() < 0 or numbers.max() >= _MAX_DOCUMENTS:
            bad = numbers[(numbers < 0) | (numbers >= _MAX_DOCUMENTS)][0]
            raise ValueError(f"ids holds {bad}: want 0 to 2^{_MAX_DOCUMENTS.bit_length() - 1} - 1")
        seen: set[int] = set()
        for number in numbers.tolist():
            if number in seen or number in self._sizes:
                raise ValueError(f"ids holds {number}, which is {'repeated' if number in seen else 'already here'}")
            seen.add(number)
        sizes = dict(zip(numbers.tolist(), map(len, given), strict=True))
        self._index.add(np.concatenate(given), _rows(sizes))
        self._sizes |= sizes

    def remove(self, ids: ArrayLike) -> int:
        """Remove documents by ``ids`` int64[n]; those not present are passed over. Returns how many were removed."""
        going = {number: self._sizes[number] for number in as_ids(ids, "ids").tolist() if number in self._sizes}
        if going:
            self._index.remove(_rows(going))
            for number in going:
                del self._sizes[number]
        return len(going)

    def codes(self, id: int) -> Codes:
        """Copies of the codes of a document's vectors, in the order they were given in. ``KeyError``."""
        if id not in self._sizes:
            raise KeyError(f"id {id} is not in this index")
        return self._index.codes(_rows({id: self._sizes[id]}))[0]

    def search(
        self,
        queries: ArrayLike | Sequence[ArrayLike],
        k: int = 10,
        *,
        query: Query = "float",
        candidates: int | None = None,
        allow: ArrayLike | None = None,
        binarizer: Binarizer | None = None,
        **options: Any,
    ) -> Hits:
        """The k best documents for each query: float32[v, d] is one; a sequence of such, or float32[n, v, d], several.

        query: ``"float"`` (ADC) or ``"code"`` (SDC). candidates: rows of the index that each vector of a query
        contributes; None: 4 k, at least 64. Larger is slower and recalls more; as many as the index has rows scores
        every document. allow: int64 ids of documents; only these are considered. binarizer: the model of the queries
        where it is a newer one than the codes'. options: the index's own, as ``nprobe`` or ``oversampling``, for the
        search that finds candidates; the scores returned are always by whole codes.

        Equal scores: the smaller id first. ``ValueError`` for a wrong shape, NaN, a query without vectors, k < 1;
        :class:`IncompatibleModel`.
        """
        depth = max(4 * check_k(k), _FEWEST_CANDIDATES)
        if candidates is not None:
            depth = check_integer("candidates", candidates, (1 << 31) - 1)
        dim = (binarizer or self.binarizer).query_dim
        several = _each([queries] if _is_one(queries) else queries, "queries", dim)
        if not several:
            raise ValueError("queries is empty: want at least one query")
        if allow is not None:
            allowed = set(as_ids(allow, "allow").tolist())
            options["allow"] = _rows({number: self._sizes[number] for number in allowed if number in self._sizes})
        worst = np.inf if self.binarizer.metric == "l2" else -np.inf
        scores, ids = np.full((len(several), k), worst, np.float32), np.full((len(several), k), -1, np.int64)
        depth = min(depth, max(len(self._index), 1))
        for row, vectors in enumerate(several):
            rows = self._index.search(vectors, depth, query=query, binarizer=binarizer, **options).ids
            found = np.unique((rows[rows >= 0] - _MARK) >> _PLACE_BITS)
            if len(found):
                totals = self._scores(vectors, found, query, binarizer)
                best = np.lexsort((found, totals if worst > 0 else -totals))[:k]
                scores[row, : len(best)], ids[row, : len(best)] = totals[best], found[best]
        return Hits(scores, ids)

    def _scores(self, vectors: Floats, documents: Ids, query: Query, binarizer: Binarizer | None) -> Floats:
        """The score of each of ``documents``, float32, by an exhaustive index of their codes."""
        sizes = {number: self._sizes[number] for number in documents.tolist()}
        codes, _ = self._index.codes(_rows(sizes))
        flat = FlatIndex(self.binarizer)
        flat.add_codes(codes, np.arange(len(codes)))
        hits = flat.search(vectors, len(codes), query=query, exact=True, binarizer=binarizer)
        table = np.empty_like(hits.scores)
        np.put_along_axis(table, hits.ids, hits.scores, axis=1)
        starts = np.cumsum([0, *sizes.values()])[:-1]
        best = np.minimum if self.binarizer.metric == "l2" else np.maximum
        return np.asarray(best.reduceat(table, starts, axis=1).sum(axis=0, dtype=np.float64), np.float32)

    def save(self, path: str | Path) -> None:
        """Write all to one checksummed file, the index's own; the old file stays until the new one is whole."""
        self._index.save(path)

    @classmethod
    def open(cls, path: str | Path, mmap: bool = True, verify: bool = False) -> MaxSimIndex:
        """Open a file written by :meth:`save`, as :func:`bebr.open_index` does; the ids of all rows are read.

        ``FileNotFoundError``; ``CorruptFile``, also for the file of an index that was no MaxSimIndex's.
        """
        index = open_index(path, mmap, verify)
        try:
            return cls(index)
        except ValueError as error:
            raise CorruptFile(f"{path}: {error}") from error


def _each(several: Any, name: str, dim: int) -> list[Floats]:
    """Arrays of one or more vectors each, checked."""
    if isinstance(several, np.ndarray) and several.ndim != 3 and several.dtype != object:
        raise ValueError(f"{name} has shape {several.shape}: want (n, v, {dim}), or a sequence of (v, {dim})")
    given = []
    for at, one in enumerate(several):
        array = np.asarray(one)
        if array.ndim != 2:
            raise ValueError(f"{name}[{at}] has shape {array.shape}: want (v, {dim})")
        if not 1 <= len(array) <= _MAX_VECTORS:
            raise ValueError(f"{name}[{at}] has {len(array)} vectors: want 1 to {_MAX_VECTORS}")
        given.append(as_vectors(array, f"{name}[{at}]", dim))
    return given


def _is_one(queries: Any) -> bool:
    return not isinstance(queries, Sequence) and np.ndim(queries) == 2


def _rows(sizes: dict[int, int]) -> Ids:
    """The ids of the rows of documents with so many vectors each, in that order."""
    counts = np.fromiter(sizes.values(), np.int64, len(sizes))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    documents = np.repeat(np.fromiter(sizes, np.int64, len(sizes)), counts)
    return _MARK + (documents << _PLACE_BITS) + np.arange(len(documents)) - starts


def _sizes(rows: Ids) -> dict[int, int]:
    """How many vectors each document has. ``ValueError`` unless ``rows`` are whole documents'."""
    documents, sizes = np.unique((rows - _MARK) >> _PLACE_BITS, return_counts=True)
    found = dict(zip(documents.tolist(), sizes.tolist(), strict=True))
    if len(rows) and (rows.min() < _MARK or not np.array_equal(np.sort(rows), _rows(found))):
        raise ValueError("index holds rows that are no MaxSimIndex's: want an empty one, or one that it made")
    return found
