"""mteb: an encoder's retrieval tasks by codes, beside its exact ones. Needs the extra ``mteb``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bebr
from bebr.extras import needed

_METRICS = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}


class BebrSearchBackend:
    """What `mteb.models.SearchEncoderWrapper` takes as ``index_backend`` (its `IndexEncoderSearchProtocol`): documents
    are searched, and reranked, by their codes.

    model: the encoder, of which the similarity is taken (cosine, dot or euclidean), unless ``metric`` names it.
    bytes_per_vector: of a document's code; codes are trained on the documents of each task.
    rescore: ``"float16"`` or ``"int8"`` keeps the vectors beside them for exact scores.
    """

    def __init__(
        self, model: Any, *, bytes_per_vector: int = 52, rescore: Any = None, metric: str | None = None
    ) -> None:
        named = getattr(getattr(model, "mteb_model_meta", None), "similarity_fn_name", None)
        similarity = str(getattr(named, "value", named) or "cosine")
        if metric is None and similarity not in _METRICS:
            raise ValueError(f"model has similarity {similarity!r}: want one of {', '.join(_METRICS)}, or metric=")
        self._metric = metric or _METRICS[similarity]
        self._bytes, self._rescore = bytes_per_vector, rescore
        self.clear()

    def clear(self) -> None:
        """Forgets all documents."""
        self._ids: list[str] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._index: bebr.FlatIndex | None = None

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Documents to search, by their embeddings float[n, d]."""
        vectors = _array(embeddings)
        if len(vectors) != len(idxs):
            raise ValueError(f"idxs has {len(idxs)} entries for {len(vectors)} embeddings: want one each")
        self._ids += map(str, idxs)
        self._vectors.append(vectors)
        self._index = None

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Callable[..., Any] | None = None,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        query_idx_to_id: Mapping[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Scores and documents of each query, the best first; a document is its number in the order of adding, or with
        ``top_ranked``, the documents that a query is to rank, its place among these. Higher scores are better in every
        metric (euclidean: the distance, negated)."""
        queries, index = _array(embeddings), self._built()
        if top_ranked is None:
            return self._lists(index.search(queries, min(top_k, len(index))))
        if query_idx_to_id is None:
            raise ValueError("query_idx_to_id is None: top_ranked wants it")
        places = {id: row for row, id in enumerate(self._ids)}
        scores: list[list[float]] = []
        found: list[list[int]] = []
        for number, query in enumerate(queries):
            ranked = top_ranked.get(query_idx_to_id[number], ())
            candidates = {places[id]: place for place, id in enumerate(ranked)}
            if not candidates:
                scores.append([])
                found.append([])
                continue
            hits = index.search(query, min(top_k, len(candidates)), allow=list(candidates), exact=True)
            [of_query], [rows] = self._lists(hits)
            scores.append(of_query)
            found.append([candidates[row] for row in rows])
        return scores, found

    def _built(self) -> bebr.FlatIndex:
        if self._index is None:
            if not self._vectors:
                raise ValueError("there are no documents: add_documents first")
            vectors = np.concatenate(self._vectors)
            codes = bebr.train(vectors, bytes_per_vector=self._bytes, metric=self._metric)
            self._index = bebr.FlatIndex(codes, rescore=self._rescore)
            self._index.add(vectors)
        return self._index

    def _lists(self, hits: bebr.Hits) -> tuple[list[list[float]], list[list[int]]]:
        scores = -np.sqrt(np.maximum(hits.scores, 0)) if self._metric == "l2" else hits.scores
        return scores.tolist(), hits.ids.tolist()


def bebr_search(model: Any, **options: Any) -> Any:
    """``model``, an encoder of mteb, as a search model for `mteb.evaluate`: its embeddings, found by codes. options: of
    `BebrSearchBackend`.

    >>> mteb.evaluate(bebr_search(mteb.get_model("all-MiniLM-L6-v2"), bytes_per_vector=52), tasks)
    """
    with needed("mteb", "bebr.integrations.mteb"):
        from mteb.models import SearchEncoderWrapper
    return SearchEncoderWrapper(model, index_backend=BebrSearchBackend(model, **options))


def _array(embeddings: Any) -> NDArray[np.float32]:
    """Of a tensor, too, wherever it lies."""
    if hasattr(embeddings, "detach"):
        embeddings = embeddings.detach().cpu().float().numpy()
    return np.asarray(embeddings, np.float32)
