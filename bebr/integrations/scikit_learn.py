"""scikit-learn: nearest neighbours among codes, as an estimator and as a step of a pipeline that wants a graph of
neighbours (DBSCAN, UMAP, TSNE, KNeighborsClassifier with ``metric="precomputed"``).

Needs the extra ``scikit-learn``.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import bebr
from bebr.extras import needed

with needed("scikit-learn", "bebr.integrations.scikit_learn"):
    from scipy.sparse import csr_matrix
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data

_METRICS = {"cosine": "cosine", "euclidean": "l2"}


class BebrNeighborsTransformer(TransformerMixin, BaseEstimator):
    """`sklearn.neighbors.NearestNeighbors` and `KNeighborsTransformer` over codes.

    n_neighbors: of a query unless it says otherwise.
    mode: what `transform` writes: ``"distance"``, with a row itself as one more neighbour, or ``"connectivity"``, ones.
    metric: ``"euclidean"`` or ``"cosine"`` (1 less the cosine).
    bytes_per_vector: of a code; None: two bits a dimension and the factor.
    rescore: ``"float16"`` or ``"int8"``: vectors are kept beside the codes, and the nearest by code get exact
        distances; None: distances by code alone.
    nlist: of how many lists the index consists; None: every row is looked at. nprobe: how many of them a search reads.
    random_state: the seed of the codes.

    >>> pipeline = make_pipeline(BebrNeighborsTransformer(n_neighbors=10), DBSCAN(eps=0.5, metric="precomputed"))
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        mode: Literal["distance", "connectivity"] = "distance",
        metric: Literal["euclidean", "cosine"] = "euclidean",
        bytes_per_vector: int | None = None,
        rescore: Literal["float16", "int8"] | None = "float16",
        nlist: int | None = None,
        nprobe: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.mode = mode
        self.metric = metric
        self.bytes_per_vector = bytes_per_vector
        self.rescore = rescore
        self.nlist = nlist
        self.nprobe = nprobe
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> BebrNeighborsTransformer:
        """Trains codes on X float[n, d] and indexes its rows."""
        if self.metric not in _METRICS:
            raise ValueError(f"metric is {self.metric!r}: want one of {', '.join(map(repr, _METRICS))}")
        if self.mode not in ("distance", "connectivity"):
            raise ValueError(f"mode is {self.mode!r}: want 'distance' or 'connectivity'")
        if self.nprobe is not None and self.nlist is None:
            raise ValueError(f"nprobe is {self.nprobe!r}, but nlist is None: there are no lists to be read")
        rows = validate_data(self, X, dtype=np.float32)
        size = 2 + 2 * -(-rows.shape[1] // 8) if self.bytes_per_vector is None else self.bytes_per_vector
        codes = bebr.train(rows, bytes_per_vector=size, metric=_METRICS[self.metric], seed=self.random_state)
        index: bebr.FlatIndex | bebr.IVFIndex
        if self.nlist is None:
            index = bebr.FlatIndex(codes, rescore=self.rescore)
        else:
            index = bebr.IVFIndex(codes, nlist=self.nlist, seed=self.random_state, rescore=self.rescore)
        index.add(rows)
        self.index_, self.n_samples_fit_, self._fit_X = index, len(rows), rows
        return self

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | NDArray[np.int64]:
        """Distances float32[n, k] and rows int64[n, k] of the nearest, the nearest first. X None: of the rows that were
        fitted, each without itself."""
        check_is_fitted(self)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        most = self.n_samples_fit_ - (X is None)
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= most:
            raise ValueError(f"n_neighbors is {k!r}: want 1 to {most}, the number of other rows")
        if X is None:
            scores, ids = self._search(self._fit_X, k + 1)
            scores, ids = _without_itself(scores, ids, k)
        else:
            scores, ids = self._search(validate_data(self, X, dtype=np.float32, reset=False), k)
        return (self._distances(scores), ids) if return_distance else ids

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: Literal["connectivity", "distance"] = "connectivity"
    ) -> Any:
        """The same as a sparse matrix [n, rows fitted]: distances, or ones."""
        distances, ids = self.kneighbors(X, n_neighbors)
        values = np.ones(ids.size, np.float32) if mode == "connectivity" else distances.ravel()
        ends = np.arange(0, ids.size + 1, ids.shape[1])
        return csr_matrix((values, ids.ravel(), ends), shape=(len(ids), self.n_samples_fit_))

    def transform(self, X: Any) -> Any:
        """The graph of the neighbours of X, as `KNeighborsTransformer` writes it; with distances, of one neighbour
        more, since a fitted row is one of its own."""
        check_is_fitted(self)
        more = self.mode == "distance"
        return self.kneighbors_graph(X, min(self.n_neighbors + more, self.n_samples_fit_), self.mode)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        return self.fit(X).transform(X)

    def _search(self, rows: NDArray[np.float32], k: int) -> bebr.Hits:
        options: dict[str, Any] = {} if self.nprobe is None else {"nprobe": self.nprobe}
        return self.index_.search(rows, k, **options)

    def _distances(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        far = 1 - scores if self.metric == "cosine" else np.sqrt(np.maximum(scores, 0))
        return np.asarray(np.maximum(far, 0), np.float32)


def _without_itself(
    scores: NDArray[np.float32], ids: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Row i's hits but i; where a code did not find its own row, but the last."""
    others = ids != np.arange(len(ids))[:, None]
    others[others.all(axis=1), -1] = False
    return scores[others].reshape(-1, k), ids[others].reshape(-1, k)
