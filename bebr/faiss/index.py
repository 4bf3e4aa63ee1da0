"""What the indexes share: FAISS's calls over an index of bebr, which is made when there is something to train it on."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Floats, Ids, as_ids, as_vectors, check_dim
from bebr.attributes import KnownAttributes
from bebr.binarizer import Binarizer
from bebr.faiss.selectors import IDSelector, SearchParameters
from bebr.index import Hits, check_k
from bebr.index import Index as Rows
from bebr.training import train

METRIC_INNER_PRODUCT = 0
METRIC_L2 = 1
_METRICS = {METRIC_INNER_PRODUCT: "ip", METRIC_L2: "l2"}
Rescore = Literal["float16", "int8"] | None


class Index(KnownAttributes, ABC):
    """d: dimensions. metric: `METRIC_L2` (squared distances, the least first) or `METRIC_INNER_PRODUCT`.

    bytes_per_vector: of a code, factors included; None: two bits a dimension and the factor.
    rescore: ``"float16"`` or ``"int8"``: vectors are kept beside the codes, the best by code get exact scores, and
        `reconstruct` gives them back.
    Unknown attributes are refused.
    """

    _trains_itself = False
    """Whether the first rows that are added may train it."""
    _rows: Any

    def __init__(
        self, d: int, metric: int = METRIC_L2, *, bytes_per_vector: int | None = None, rescore: Rescore = None
    ) -> None:
        if metric not in _METRICS:
            raise ValueError(f"metric is {metric!r}: want METRIC_INNER_PRODUCT (0) or METRIC_L2 (1)")
        self._d, self._metric_type = check_dim(d, "d"), metric
        self._bytes = 2 + 2 * -(-self._d // 8) if bytes_per_vector is None else bytes_per_vector
        self._rescore = rescore
        self._verbose = False
        self._rows = None

    @classmethod
    def _of(cls, rows: Rows) -> Index:
        """Over an index that is there already."""
        bz, index = rows.binarizer, cls.__new__(cls)
        numbers = {name: number for number, name in _METRICS.items()}
        if bz.metric not in numbers:
            raise ValueError(f"the index has metric {bz.metric!r}, which FAISS has not: open it with bebr.open_index")
        Index.__init__(
            index, bz.input_dim, numbers[bz.metric], bytes_per_vector=bz.bytes_per_vector, rescore=rows.raw_type
        )
        index._rows = rows
        return index

    def __copy__(self) -> Index:
        return copy.deepcopy(self)  # as bebr's own: rows are never shared

    @property
    def d(self) -> int:
        """Dimensions."""
        return self._d

    @property
    def metric_type(self) -> int:
        """`METRIC_L2` or `METRIC_INNER_PRODUCT`."""
        return self._metric_type

    @property
    def ntotal(self) -> int:
        """How many rows there are."""
        return 0 if self._rows is None else len(self._rows)

    @property
    def is_trained(self) -> bool:
        """Whether rows can be added."""
        return self._rows is not None or self._trains_itself

    @property
    def code_size(self) -> int:
        """Bytes of a code, factors included."""
        return self._bytes

    @property
    def bebr_index(self) -> Rows:
        """The index of bebr underneath. ``ValueError`` before it is trained."""
        return self._trained("used")

    @property
    def verbose(self) -> bool:
        """Whether training prints what it does."""
        return self._verbose

    @verbose.setter
    def verbose(self, verbose: bool) -> None:
        self._verbose = bool(verbose)

    def train(self, x: ArrayLike) -> None:
        """Trains codes, and centroids where there are lists, on vectors float32[n, d]. ``ValueError`` while there are
        rows."""
        if self.ntotal:
            raise ValueError(
                f"the index has {self.ntotal} rows, whose codes would lose their meaning: reset() it first"
            )
        vectors = as_vectors(x, "x", self._d, allow_empty=False)
        progress = _print if self._verbose else None
        bz = train(vectors, bytes_per_vector=self._bytes, metric=_METRICS[self._metric_type], progress=progress)
        self._rows = self._made(bz, vectors)

    @abstractmethod
    def _made(self, bz: Binarizer, vectors: Floats | None) -> Rows:
        """An empty index of these codes. vectors: to train the rest of it on; None: it is as it was."""

    def add(self, x: ArrayLike) -> None:
        """Adds vectors float32[n, d] under the next ids after the largest so far."""
        vectors = as_vectors(x, "x", self._d)
        if (rows := self._ready(vectors)) is not None:
            rows.add(vectors)

    def add_with_ids(self, x: ArrayLike, ids: ArrayLike) -> None:
        """Adds vectors float32[n, d] under ids int64[n], each of them 0 or above and new."""
        vectors = as_vectors(x, "x", self._d)
        if (rows := self._ready(vectors)) is not None:
            rows.add(vectors, ids)

    def _ready(self, vectors: Floats) -> Rows | None:
        """What takes them; None: there are none to train it on, and so none to add."""
        if self._rows is None and self._trains_itself:
            if not len(vectors):
                return None
            self.train(vectors)
        return self._trained("added to")

    def _trained(self, what: str) -> Rows:
        if self._rows is None:
            raise ValueError(f"the index is not trained: train() it before it is {what}")
        rows: Rows = self._rows
        return rows

    def search(self, x: ArrayLike, k: int, *, params: SearchParameters | None = None) -> tuple[Floats, Ids]:
        """(D, I) of the k best rows for queries float32[n, d]: float32[n, k] and int64[n, k], the best first. Where
        there are fewer, I is -1 and D the largest float32, or for inner products the least."""
        queries = as_vectors(x, "x", self._d)
        worst = np.finfo(np.float32).max * (1 if self._metric_type == METRIC_L2 else -1)
        if not self._searchable(queries):
            shape = (len(queries), check_k(k))
            return np.full(shape, worst, np.float32), np.full(shape, -1, np.int64)
        hits: Hits = self._rows.search(queries, k, **self._options(params))
        hits.scores[hits.ids < 0] = worst
        return self._distances(hits.scores), hits.ids

    def range_search(
        self, x: ArrayLike, thresh: float, *, params: SearchParameters | None = None
    ) -> tuple[NDArray[np.uint64], Floats, Ids]:
        """(lims, D, I) of all rows with a squared distance of at most ``thresh``, or an inner product of at least it,
        by code: those of query i are ``[lims[i]:lims[i + 1]]``, the best first."""
        queries = as_vectors(x, "x", self._d)
        if not self._searchable(queries):
            return np.zeros(len(queries) + 1, np.uint64), np.empty(0, np.float32), np.empty(0, np.int64)
        hits = self._rows.search_range(queries, thresh, **self._options(params))
        return hits.offsets.astype(np.uint64), self._distances(hits.scores), hits.ids

    def _searchable(self, queries: Floats) -> bool:
        """Whether there is anything to do."""
        if self._rows is None and not self._trains_itself:
            self._trained("searched")
        return self._rows is not None and len(queries) > 0

    def _distances(self, scores: Floats) -> Floats:
        """In place: a squared distance by code may fall short of 0, and scripts take roots."""
        return np.maximum(scores, 0, out=scores) if self._metric_type == METRIC_L2 else scores

    def _options(self, params: SearchParameters | None) -> dict[str, Any]:
        """Of a search of bebr."""
        if params is None or params.sel is None:
            return {}
        return {"allow": self._chosen(params.sel)}

    def _chosen(self, sel: IDSelector) -> Ids:
        ids = self._trained("searched").ids
        return np.asarray(ids[sel.mask(ids)], np.int64)

    def assign(self, x: ArrayLike, k: int | None = None) -> Ids:
        """I of :meth:`search`, int64[n, k]; without k, which FAISS wants, the nearest of each, int64[n]."""
        return self.search(x, 1)[1][:, 0] if k is None else self.search(x, k)[1]

    def reconstruct(self, key: int) -> Floats:
        """The vector under an id, float32[d]: as kept, else what its code stands for. ``KeyError`` for one that is not
        there."""
        vector: Floats = self.reconstruct_batch([key])[0]
        return vector

    def reconstruct_batch(self, key: ArrayLike) -> Floats:
        """Those under ids int64[n], float32[n, d]."""
        rows = self._trained("read")
        return rows.vectors(as_ids(key, "key"))

    def reconstruct_n(self, n0: int = 0, ni: int = -1) -> Floats:
        """Those under ``ni`` ids from ``n0`` on; -1: as many as there are rows."""
        return self.reconstruct_batch(np.arange(n0, n0 + (self.ntotal if ni == -1 else ni)))

    def search_and_reconstruct(
        self, x: ArrayLike, k: int, *, params: SearchParameters | None = None
    ) -> tuple[Floats, Ids, Floats]:
        """(D, I, R): R float32[n, k, d], NaN where I is -1."""
        scores, ids = self.search(x, k, params=params)
        vectors = np.full((*ids.shape, self._d), np.nan, np.float32)
        if (there := ids >= 0).any():
            vectors[there] = self.reconstruct_batch(ids[there])
        return scores, ids, vectors

    def remove_ids(self, x: IDSelector | ArrayLike) -> int:
        """Removes ids, an array or a selector, and returns how many were there. All other rows keep their ids."""
        if self._rows is None:
            return 0
        removed: int = self._rows.remove(self._chosen(x) if isinstance(x, IDSelector) else as_ids(x, "x"))
        return removed

    def reset(self) -> None:
        """Removes all rows; the training stays."""
        if self._rows is not None:
            self._rows = self._made(self._rows.binarizer, None)


def _print(stage: str, done: int, total: int) -> None:
    print(f"{stage}: {done} of {total}")
