"""Joining results of several parts, and choosing which segments to join on disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bebr.index import Hits

# A segment with more than this share of dead rows is rewritten at the next seal.
DEAD_SHARE = 0.25
# Segments larger than this are no longer merged for being small, so that a seal stays a matter of seconds.
MERGE_ROWS = 4_000_000


def merge_hits(found: Sequence[Hits], k: int, ascending: bool) -> Hits:
    """The k best of the results of parts that share no id: Hits [n, k]. Equal scores: smaller id first, missing (id −1)
    last, as in a single index."""
    scores = np.concatenate([hits.scores for hits in found], axis=1)
    ids = np.concatenate([hits.ids for hits in found], axis=1)
    order = np.lexsort((ids, scores if ascending else -scores, ids < 0), axis=1)[:, :k]
    return Hits(np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1))


def segments_to_rewrite(segments: Sequence[tuple[int, int]], tail: int) -> list[int]:
    """Which of `segments` (rows as written, rows still live) a seal of `tail` rows should take into the new file.

    Those with many dead rows; and, smallest first, those no larger than what is being written anyway: sizes then grow
    like a binary counter, so n rows are spread over about log2(n / tail) files and each row is copied about as many
    times.
    """
    chosen = [i for i, (rows, live) in enumerate(segments) if rows - live > DEAD_SHARE * rows]
    writing = tail + sum(segments[i][1] for i in chosen)
    for i in sorted(set(range(len(segments))) - set(chosen), key=lambda i: segments[i][1]):
        live = segments[i][1]
        if live > writing or live + writing > MERGE_ROWS:
            break
        chosen.append(i)
        writing += live
    return chosen
