"""sentence-transformers: what stands beside its `semantic_search_faiss` and `quantize_embeddings`.

Needs numpy only; the extra ``sentence-transformers`` brings the encoders.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bebr

Found = list[list[dict[str, int | float]]]
"""For each query its results, the best first: ``{"corpus_id": row, "score": score}``."""


def semantic_search_bebr(
    query_embeddings: Any,
    corpus_embeddings: Any = None,
    corpus_index: bebr.Index | None = None,
    bytes_per_vector: int = 52,
    top_k: int = 10,
    rescore: bool = False,
    metric: str = "cosine",
    output_index: bool = False,
) -> tuple[Any, ...]:
    """The ``top_k`` rows of a corpus nearest to each query, among codes of ``bytes_per_vector`` bytes; with the seconds
    that the search took, and with the index where ``output_index`` asks for it.

    query_embeddings, corpus_embeddings: float arrays or tensors [n, d], what ``model.encode`` returns; queries stay
        floats. Codes are trained on the corpus.
    corpus_index: of an earlier call, or any index of bebr, instead of ``corpus_embeddings``.
    rescore: float16 vectors are kept beside the codes, and the best by code get exact scores.
    metric: ``"cosine"``, ``"ip"`` or ``"l2"`` (scores: squared distances, the least first).
    ``ValueError`` names the argument.

    >>> found, seconds, index = semantic_search_bebr(queries, corpus, bytes_per_vector=52, output_index=True)
    >>> found, seconds = semantic_search_bebr(more_queries, corpus_index=index)
    """
    if (corpus_embeddings is None) == (corpus_index is None):
        raise ValueError("corpus_embeddings and corpus_index: want one of them")
    if corpus_index is None:
        corpus = _array(corpus_embeddings)
        codes = bebr.train(corpus, bytes_per_vector=bytes_per_vector, metric=metric)
        corpus_index = bebr.FlatIndex(codes, rescore="float16" if rescore else None)
        corpus_index.add(corpus)
    queries = _array(query_embeddings)
    started = time.perf_counter()
    hits = corpus_index.search(queries, top_k)
    seconds = time.perf_counter() - started
    found: Found = [
        [{"corpus_id": int(id), "score": float(score)} for id, score in zip(ids, scores, strict=True) if id != -1]
        for ids, scores in zip(hits.ids, hits.scores, strict=True)
    ]
    return (found, seconds, corpus_index) if output_index else (found, seconds)


def quantize_embeddings_bebr(
    embeddings: Any,
    bytes_per_vector: int = 52,
    *,
    binarizer: bebr.Binarizer | None = None,
    calibration_embeddings: Any = None,
    metric: str = "cosine",
) -> tuple[NDArray[np.uint8], bebr.Binarizer]:
    """Embeddings [n, d] as codes, uint8[n, bytes], and the model that made them; queries are better left as they are.

    binarizer: of an earlier call, so that both have the same codes; then the other options have no part.
    calibration_embeddings: what the model is trained on; None: ``embeddings`` themselves.
    The bytes of a row are its planes, then its factors; :func:`codes_of` reads them for an index's ``add_codes``.

    >>> rows, model = quantize_embeddings_bebr(model.encode(corpus), 52)
    >>> index = bebr.FlatIndex(model); index.add_codes(codes_of(rows, model), ids)
    """
    vectors = _array(embeddings)
    if binarizer is None:
        sample = vectors if calibration_embeddings is None else _array(calibration_embeddings)
        binarizer = bebr.train(sample, bytes_per_vector=bytes_per_vector, metric=metric)
    codes = binarizer.encode(vectors)
    return np.hstack([codes.planes, codes.factor_rows()]), binarizer


def codes_of(rows: NDArray[np.uint8], binarizer: bebr.Binarizer) -> bebr.Codes:
    """The codes that :func:`quantize_embeddings_bebr` wrote as uint8[n, bytes]. ``ValueError`` for another width."""
    size = binarizer.bytes_per_vector
    if rows.ndim != 2 or rows.shape[1] != size or rows.dtype != np.uint8:
        raise ValueError(f"rows has dtype {rows.dtype} and shape {rows.shape}: want uint8 (n, {size})")
    planes = binarizer.settings.code_bytes
    return bebr.Codes.of_rows(rows[:, :planes], rows[:, planes:], binarizer.settings.factor_bytes)


def _array(embeddings: Any) -> NDArray[Any]:
    """Of a tensor, too, wherever it lies; a single vector as one row."""
    if hasattr(embeddings, "detach"):
        embeddings = embeddings.detach().cpu().float().numpy()
    return np.atleast_2d(np.asarray(embeddings))
