"""Replies of shards made one: the best of all hits, rows in the order of their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.serve import convert
from bebr.v1 import bebr_pb2 as pb


def merged_hits(replies: Sequence[pb.SearchResponse], k: int, offset: int, ascending: bool) -> pb.SearchResponse:
    """The k best of each query after the first `offset`, equal scores by the smaller number, from the offset + k best
    of each shard: those that one search of all rows would have found."""
    queries = len(replies[0].counts)
    counts = [np.fromiter(reply.counts, np.int64, queries) for reply in replies]
    query = np.concatenate([np.repeat(np.arange(queries), count) for count in counts])
    ids = np.concatenate([np.frombuffer(reply.ids, "<i8") for reply in replies])
    scores = np.concatenate([np.frombuffer(reply.scores, "<f4") for reply in replies])
    order = np.lexsort((ids, scores if ascending else -scores, query))
    starts = np.cumsum(np.sum(counts, axis=0)) - np.sum(counts, axis=0)
    rank = np.arange(len(order)) - np.repeat(starts, np.sum(counts, axis=0))
    shown = order[(rank >= offset) & (rank < offset + k)]
    reply = pb.SearchResponse(
        ids=convert.ids_to_bytes(ids[shown]),
        scores=scores[shown].astype("<f4", copy=False).tobytes(),
        counts=np.bincount(query[shown], minlength=queries).tolist(),
    )
    put_texts(reply, replies, shown)
    return reply


def put_texts(
    reply: pb.SearchResponse | pb.Rows, replies: Sequence[pb.SearchResponse] | Sequence[pb.Rows], shown: Ids
) -> None:
    """Puts payloads and keys into a reply: of those answers of all `replies`, one after the other, that it shows."""
    sizes = [len(one.ids) // 8 for one in replies]
    for field, nothing in (("payloads", ""), ("keys", b"")):
        if any(getattr(one, field) for one in replies):
            every: list[Any] = []
            for one, size in zip(replies, sizes, strict=True):
                every += getattr(one, field) or [nothing] * size
            getattr(reply, field).extend([every[i] for i in shown.tolist()])


def merged_rows(parts: Sequence[pb.Rows], most: int | None = None, below: int | None = None) -> pb.Rows:
    """Rows of all shards in the order of their numbers; `most` of them, up to the number `below` alone."""
    ids = np.concatenate([np.frombuffer(part.ids, "<i8") for part in parts])
    order = np.argsort(ids, kind="stable")
    if below is not None:
        order = order[ids[order] <= below]
    order = order[:most]
    rows = pb.Rows(ids=convert.ids_to_bytes(ids[order]))
    put_texts(rows, parts, order)
    if any(part.HasField("vectors") for part in parts):
        _put_vectors(rows, [part for part in parts if part.ids] or parts[:1], order)
    return rows


def _put_vectors(rows: pb.Rows, parts: Sequence[pb.Rows], order: Ids) -> None:
    has = [_with_vector(part) for part in parts]
    every = np.concatenate([convert.vectors_from_message(part.vectors, "vectors") for part in parts])
    there = np.concatenate(has)
    place = np.cumsum(there) - 1
    kept = there[order]
    rows.without_vector.extend(np.flatnonzero(~kept).tolist())
    rows.vectors.CopyFrom(convert.vectors_to_message(every[place[order[kept]]]))


def _with_vector(part: pb.Rows) -> NDArray[np.bool_]:
    """Which rows have one, bool[n]."""
    there = np.ones(len(part.ids) // 8, np.bool_)
    there[list(part.without_vector)] = False
    return there
