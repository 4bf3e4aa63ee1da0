"""Measuring every setting: train, encode, search, compare with the exact answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import Floats, Ids, as_vectors
from bebr.binarizer.codes import Query
from bebr.exact import exact, hits, recall
from bebr.index import FlatIndex
from bebr.threads import get_num_threads, set_num_threads
from bebr.tradeoff.row import Row
from bebr.training import train
from bebr.training.linear.widths import most_bytes
from bebr.training.planning.holdout import Holdout, Predicted, fewest

if TYPE_CHECKING:
    from bebr.peers import Peer

BYTES = (24, 52, 100, 196)
# Rounds of training, a fifth of the default: it costs within .003 (bebr/training/planning/holdout.py), and thirty
# models come in a minute or two.
ROUNDS = 8
UNIFORM_PLANES = (1, 2, 4)
QUERIES: tuple[Literal["float", "code"], ...] = ("float", "code")
MAX_QUERIES = 1000
LATENCY_QUERIES = 50

Progress = Callable[[str, int, int], None]
Search = Callable[[Floats, int], Ids]
T = TypeVar("T")


def split(x: ArrayLike, queries: int | None = None, seed: int = 0) -> tuple[Floats, Floats]:
    """Split x float32[n, d] into (base, queries), each row in one; by default a tenth, at most 1000, are queries."""
    vectors = as_vectors(x, "x")
    count = max(1, min(MAX_QUERIES, len(vectors) // 10)) if queries is None else queries
    if not 1 <= count < len(vectors):
        raise ValueError(f"queries: got {count} of {len(vectors)} vectors, wanted at least 1 and fewer than all")
    held = np.zeros(len(vectors), bool)
    held[np.random.default_rng(seed).choice(len(vectors), count, replace=False)] = True
    return vectors[~held], vectors[held]


def plans(budget: int, dim: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (recipe, arguments of `bebr.train`) for a budget in bytes: the default, and uniform planes that fit."""
    yield "ragged", {"bytes_per_vector": budget}
    for planes in UNIFORM_PLANES:
        width = (budget - 2) * 8 // planes // 8 * 8  # two bytes are the factor's
        if 8 <= width <= dim:  # more dims than the data has would only repeat them
            yield f"{planes} plane{'s' if planes > 1 else ''}", {"widths": [width] * planes}


def sweep(
    x: ArrayLike,
    queries: ArrayLike | None = None,
    *,
    bytes: Sequence[int] | None = None,
    metric: Literal["cosine", "ip", "l2"] = "cosine",
    k: int = 10,
    peers: bool = False,
    seed: int = 0,
    threads: int = 1,
    predict: bool = True,
    progress: Progress | None = None,
    left_out: Callable[[str], None] | None = None,
) -> list[Row]:
    """Measure every plan of every budget, with SDC and ADC, and every installed peer if `peers`.

    x         float32[n, d], trained on and searched
    queries   float32[q, d]; None: a tenth of x, at most 1000, held out of training and index alike
    bytes     budgets a vector, factors included; None: 24, 52, 100 and 196, those that codes of these dimensions have
    threads   of encoding and search
    predict   the recall of every row as well, which doubles the time
    progress  called with (what, done, total)
    left_out  called with a line for each peer that is missing or fails; None: a failure is raised
    ValueError for wrong shapes, metric, k, or a budget that no code of these dimensions has.
    """
    report = progress or (lambda what, done, total: None)
    if metric not in ("cosine", "ip", "l2"):
        raise ValueError(f"metric: got '{metric}', wanted 'cosine', 'ip' or 'l2'")
    if threads < 1:
        raise ValueError(f"threads: got {threads}, wanted at least 1")
    if bytes is not None and not bytes:
        raise ValueError("bytes: got no budget, wanted at least one number of bytes a vector")
    if queries is None:
        base, q = split(x, seed=seed)
    else:
        base = as_vectors(x, "x", allow_empty=False)
        q = as_vectors(queries, "queries", base.shape[1], allow_empty=False)
    most = most_bytes(base.shape[1])
    if bytes is None:
        bytes = [budget for budget in BYTES if budget <= most] or [most]
    for budget in bytes:  # said now, not after minutes
        if not 2 <= budget <= most:  # one is the factor's, and one is the shortest plane
            raise ValueError(f"bytes: got {budget}, wanted 2 to {most} for {base.shape[1]} dimensions")
    report("exact answers", 0, 1)
    truth = exact(base, q, k, metric)
    report("planning", 0, 1)
    holdout = Holdout(base, metric, k, None, seed) if predict and len(base) >= fewest(k) else None
    jobs = [(budget, *plan) for budget in bytes for plan in plans(budget, base.shape[1])]
    others = _peers(base.shape[1], metric, left_out) if peers else []
    total = len(jobs) + len(others)
    rows: list[Row] = []
    for done, (budget, recipe, arguments) in enumerate(jobs):
        report(f"{budget} bytes, {recipe}", done, total)
        rows += _measure_bebr(recipe, arguments, base, q, truth, metric, seed, threads, holdout)
    if others:
        from bebr.peers import prepared

        base, q = prepared(base, metric), prepared(q, metric)
    for done, peer in enumerate(others, len(jobs)):
        report(peer.name, done, total)
        try:
            rows.append(_measure_peer(peer, base, q, truth, threads))
        except (RuntimeError, ValueError, NotImplementedError) as error:  # too few rows to train on, a metric it lacks
            if left_out is None:
                raise
            left_out(f"{peer.name} failed and is left out: {' '.join(str(error).split())[:200]}")
    return rows


def _peers(dim: int, metric: str, left_out: Callable[[str], None] | None) -> list[Peer]:
    from bebr.peers import flat, missing

    for line in missing():
        if left_out is not None:
            left_out(line)
    return flat(dim, metric)


def _measure_bebr(
    recipe: str,
    arguments: dict[str, Any],
    base: Floats,
    q: Floats,
    truth: Ids,
    metric: str,
    seed: int,
    threads: int,
    holdout: Holdout | None,
) -> list[Row]:
    train_seconds, bz = _timed(lambda: train(base, metric=metric, seed=seed, rounds=ROUNDS, **arguments))
    planned: dict[Query, Predicted] = {} if holdout is None else holdout.predict(tuple(bz.widths))
    before = get_num_threads()
    set_num_threads(threads)
    try:
        index = FlatIndex(bz)
        encode_seconds, _ = _timed(lambda: index.add(base))
        rows = []
        for query in QUERIES:
            found = _measure_search(_searcher(index, query), q, truth)
            predicted = planned.get(query)
            rows.append(
                Row(
                    system="bebr",
                    recipe=recipe,
                    query=query,
                    widths=tuple(bz.widths),
                    dims=bz.dims,
                    bytes_per_vector=bz.bytes_per_vector,
                    k=truth.shape[1],
                    recall=found.recall,
                    recall_error=found.error,
                    predicted=None if predicted is None else predicted.recall,
                    predicted_error=None if predicted is None else predicted.error,
                    queries_per_second=found.queries_per_second,
                    latency_ms=found.latency_ms,
                    encode_per_second=len(base) / encode_seconds,
                    train_seconds=train_seconds,
                    threads=threads,
                )
            )
        return rows
    finally:
        set_num_threads(before)


def _measure_peer(peer: Peer, base: Floats, q: Floats, truth: Ids, threads: int) -> Row:
    fit_seconds, _ = _timed(lambda: peer.fit(base))
    add_seconds, _ = _timed(lambda: peer.add(base))
    found = _measure_search(lambda v, k: peer.search(v, k, threads), q, truth)
    return Row(
        system=peer.library,
        recipe=peer.name,
        query="",
        widths=(),
        dims=0,
        bytes_per_vector=peer.bytes_per_vector,
        k=truth.shape[1],
        recall=found.recall,
        recall_error=found.error,
        predicted=None,
        predicted_error=None,
        queries_per_second=found.queries_per_second,
        latency_ms=found.latency_ms,
        encode_per_second=len(base) / add_seconds,
        train_seconds=fit_seconds,
        threads=threads,
    )


def _searcher(index: FlatIndex, query: Literal["float", "code"]) -> Search:
    return lambda q, k: index.search(q, k, query=query).ids


class _Found(NamedTuple):
    recall: float
    error: float
    queries_per_second: float
    latency_ms: float


def _measure_search(search: Search, q: Floats, truth: Ids) -> _Found:
    """Recall, and the speed of all queries in one call and of one a call. The first call warms up and is not timed."""
    k = truth.shape[1]
    found = search(q, k)
    batch = float(np.median([_timed(lambda: search(q, k))[0] for _ in range(3)]))
    single = float(np.median([_timed(partial(search, row, k))[0] for row in q[:LATENCY_QUERIES, None]]))
    error = float(hits(found, truth).std()) / len(q) ** 0.5
    return _Found(recall(found, truth), error, len(q) / batch, 1e3 * single)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
