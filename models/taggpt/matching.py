"""Which tags are near: all within a cosine, or the nearest few; by codes of bebr, or by the floats themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

import bebr

__all__ = ["Coded", "Exact", "Floats", "Matching", "Near", "Tags", "groups"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
_BLOCK = 1024


class Near(NamedTuple):
    """Rows within a radius: those of query i are ``ids[offsets[i]:offsets[i + 1]]``, best first; ``scores`` alike.

    offsets int64[n + 1], scores float32[total], ids int64[total]
    """

    offsets: Ids
    scores: Floats
    ids: Ids


class Tags(Protocol):
    """Vectors of tags that can be searched by cosine; ids are their rows."""

    def within(self, queries: Floats, radius: float) -> Near:
        """All rows whose cosine with a query float32[n, d] is at least ``radius``."""
        ...

    def nearest(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        """Cosines float32[n, k] and rows int64[n, k] of the k best, fewer if there are fewer rows."""
        ...


class Matching(Protocol):
    """How tags are matched: makes something searchable of their vectors float32[n, d]."""

    def over(self, x: Floats) -> Tags: ...


@dataclass(frozen=True)
class Exact:
    """By float32 arithmetic over all rows: what the codes are compared with."""

    def over(self, x: Floats) -> Tags:
        return _ExactTags(_unit(x))


# Training on fewer takes seconds and finds what an untrained code does.
_WORTH_TRAINING = 200


@dataclass(frozen=True)
class Coded:
    """By an index of bebr over binary codes; queries stay floats.

    bytes_per_vector  of the binarizer that is trained on the vectors at hand, under ``seed``; of fewer than 200 there
                      is little to learn, and bebr.untrained takes its place
    binarizer         one that is there already, of metric "cosine" and the producer's dimensions
    nlist             None: a flat index; else an IVF index of so many lists, of which ``nprobe`` are looked at
    rescore           "float16" or "int8": vectors are kept beside the codes, and what these find gets exact scores;
                      None: codes alone, which at 48 bytes blur a cosine too much for radii this narrow (README of
                      benchmarks/)
    """

    bytes_per_vector: int = 48
    binarizer: bebr.Binarizer | None = None
    nlist: int | None = None
    nprobe: int | None = None
    rescore: str | None = "float16"
    seed: int = 0

    def over(self, x: Floats) -> Tags:
        made: Any = self.binarizer
        if made is None:
            size: dict[str, Any] = {"bytes_per_vector": self.bytes_per_vector, "metric": "cosine", "seed": self.seed}
            made = bebr.train(x, **size) if len(x) >= _WORTH_TRAINING else bebr.untrained(x.shape[1], **size)
        if made.metric != "cosine" or made.input_dim != x.shape[1]:
            raise ValueError(
                f"binarizer: got one for {made.metric}, {made.input_dim} dims, wanted cosine, {x.shape[1]} dims"
            )
        rescore: Any = self.rescore
        if self.nlist is None:
            return _CodedTags(bebr.FlatIndex(made, rescore=rescore), x, {})
        nlist = min(self.nlist, len(x))
        index = bebr.IVFIndex(made, nlist=nlist, seed=self.seed, rescore=rescore)
        return _CodedTags(index, x, {} if self.nprobe is None else {"nprobe": min(self.nprobe, nlist)})


class _ExactTags:
    def __init__(self, x: Floats) -> None:
        self._x = x

    def within(self, queries: Floats, radius: float) -> Near:
        found = []
        for scores in self._scores(queries):
            for row in scores:
                near = np.flatnonzero(row >= radius)
                near = near[np.argsort(-row[near], kind="stable")]
                found.append((row[near], near))
        return _joined(found)

    def nearest(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        k = _depth(k, len(self._x))
        best, ids = [np.zeros((0, k), np.float32)], [np.zeros((0, k), np.int64)]
        for scores in self._scores(queries):
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            best.append(np.take_along_axis(scores, order, 1))
            ids.append(order)
        return np.concatenate(best), np.concatenate(ids)

    def _scores(self, queries: Floats) -> Iterator[Floats]:
        for start in range(0, len(queries), _BLOCK):
            yield _unit(queries[start : start + _BLOCK]) @ self._x.T


class _CodedTags:
    def __init__(self, index: Any, x: Floats, options: dict[str, Any]) -> None:
        index.add(x)
        self._index, self._options = index, options

    def within(self, queries: Floats, radius: float) -> Near:
        if len(queries) == 0:
            return _joined([])
        if self._index.raw_type is None:
            return Near(*self._index.search_range(queries, radius, **self._options))
        # A range search goes by code alone; here what a search finds has exact scores, so the search is made deeper
        # until the last that is found lies outside.
        found: list[Any] = [None] * len(queries)
        left, depth = np.arange(len(queries)), 16
        while len(left):
            k = min(depth, len(self._index))
            scores, ids = self._index.search(queries[left], k, **self._options)
            inside = (scores >= radius) & (ids >= 0)
            done = ~inside.all(axis=1) | (k == len(self._index))
            for place in np.flatnonzero(done):
                found[left[place]] = (scores[place][inside[place]], ids[place][inside[place]])
            left, depth = left[~done], depth * 4
        return _joined(found)

    def nearest(self, queries: Floats, k: int) -> tuple[Floats, Ids]:
        k = _depth(k, len(self._index))
        if len(queries) == 0:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        scores, ids = self._index.search(queries, k, **self._options)
        return scores, ids


def groups(tags: Tags, x: Floats, radius: float) -> list[list[int]]:
    """Merge tags that mean the same, greedily: each row of ``x`` float32[n, d], in order, takes all later rows within
    ``radius`` of it that no earlier one has taken. ``tags`` holds the same rows.

    A group is its first row, then those merged into it; every row is in exactly one group.
    """
    taken = np.zeros(len(x), bool)
    out: list[list[int]] = []
    for start in range(0, len(x), _BLOCK):
        rows = start + np.flatnonzero(~taken[start : start + _BLOCK])
        offsets, _, ids = tags.within(x[rows], radius)
        for place, row in enumerate(rows.tolist()):
            if taken[row]:
                continue
            taken[row] = True
            near = ids[offsets[place] : offsets[place + 1]]
            merged = np.sort(near[~taken[near]])
            taken[merged] = True
            out.append([row, *merged.tolist()])
    return out


def check_radius(name: str, radius: float) -> float:
    """ValueError unless it is a cosine."""
    if not -1 <= radius <= 1:
        raise ValueError(f"{name}: got {radius}, wanted a cosine, -1 to 1")
    return radius


def _joined(found: Sequence[tuple[Floats, Ids]]) -> Near:
    sizes = [len(ids) for _, ids in found]
    scores = np.concatenate([np.zeros(0, np.float32), *(scores for scores, _ in found)])
    ids = np.concatenate([np.zeros(0, np.int64), *(ids for _, ids in found)])
    return Near(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), scores.astype(np.float32), ids)


def _depth(k: int, rows: int) -> int:
    if k < 1:
        raise ValueError(f"k: got {k}, wanted at least 1")
    return min(k, rows)


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)
