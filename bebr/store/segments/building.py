"""The index of a new segment, of any kind, made of live rows: in bounded memory and in short pieces of work.

Rows of lists and graphs do not stand in the order they came in; what a segment holds beside its codes is written in the
order of the index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.index import FlatIndex, GraphIndex
from bebr.index.base import row_format
from bebr.index.ivf import IVFIndex
from bebr.index.kmeans import kmeans
from bebr.index.segments import TailRows
from bebr.index.sizes import Kind
from bebr.store.files.kept import Keeping
from bebr.store.snapshots.live import LiveRows

# Vectors a list that k-means sees: so many, or what memory allows, but not fewer than it needs.
_SAMPLE, _FEWEST = 64, 24
_SAMPLE_BYTES = 128 << 20
# Rows of a chunk, and what its making and the merge of all take in memory.
_CHUNK = 1 << 17
_MERGE_BYTES = 64 << 20
# Products of rows and centroids between two pauses.
_ASSIGNED = 1 << 31
# Centroids from which on k-means goes in two levels: a third of the time, recall the same for as many rows looked at
# (docs/experiments/segment-kinds.md).
_MOST_DIRECT = 256
# More centroids than this are looked at through groups of near ones when a row is assigned: of 4,096, without AMX, that
# takes 9 us a row for 15, of 2,048 it would take 8 for 7 and find less (docs/experiments/segment-kinds.md).
_MOST_RANKED = 2048
# Rows that are linked between two pauses.
_LINKED = 512


@dataclass(frozen=True)
class Coding:
    """`bz`: the model of the new codes; `keeping`: of the vectors that rows have, None where they have none."""

    bz: Binarizer
    keeping: Keeping | None


class Build(Protocol):
    """An index that is yet to be saved."""

    @property
    def order(self) -> Ids | None:
        """The number among the live rows of the row at each position; None: they stand as they came."""

    def save(self, path: Path, sections: Mapping[str, bytes | mmap]) -> None:
        """Writes the file, as a whole or not at all."""


@contextmanager
def built(kind: Kind, live: LiveRows, coding: Coding, path: Path, pause: Callable[[], None]) -> Iterator[Build]:
    """The index of all `live` rows, for the length of a block. `path`: where it is to be saved; other files lie beside
    it on the way, under names that begin like its own. `pause` is called between pieces of work, and may raise."""
    if kind == "flat":
        yield _flat(live, coding, pause)
    elif kind == "graph":
        yield _graph(live, coding, pause)
    else:
        build = _IVF(live, coding, path, pause)
        try:
            build.encode()
            yield build
        finally:
            build.remove_chunks()


@dataclass(frozen=True)
class _InMemory:
    index: FlatIndex | GraphIndex
    order: Ids | None

    def save(self, path: Path, sections: Mapping[str, bytes | mmap]) -> None:
        self.index._save(path, sections)


def _flat(live: LiveRows, coding: Coding, pause: Callable[[], None]) -> _InMemory:
    copied = TailRows(coding.bz)
    copied.reserve(len(live))
    for piece in live.pieces():
        copied.append(piece.codes(coding.bz, coding.keeping), piece.ids())
        pause()
    return _InMemory(copied.freeze(), None)


def _graph(live: LiveRows, coding: Coding, pause: Callable[[], None]) -> _InMemory:
    index = GraphIndex(coding.bz)
    ids = np.empty(len(live), np.int64)
    done = 0
    for piece in live.pieces():
        numbers = piece.ids()
        codes = piece.codes(coding.bz, coding.keeping)
        ids[done : done + piece.size] = numbers
        for begin in range(0, piece.size, _LINKED):
            index.add_codes(codes[begin : begin + _LINKED], numbers[begin : begin + _LINKED])
            pause()
        done += piece.size
    by_id = np.argsort(ids)
    return _InMemory(index, by_id[np.searchsorted(ids, index.ids, sorter=by_id)])


def lists_for(rows: int) -> int:
    """Lists of an IVF segment of so many rows (docs/experiments/segment-kinds.md)."""
    return 1 << max(0, round(math.log2(2 * math.sqrt(rows))))


def assigning(bz: Binarizer, centroids: Floats, most_ranked: int = _MOST_RANKED) -> core.IvfBuild:
    """What assigns rows to lists: by all ``centroids``, or through groups of more than ``most_ranked``."""
    values = np.ascontiguousarray(centroids)
    return core.IvfBuild(row_format(bz), values, bz.metric == "ip", most_direct=most_ranked)


class _IVF:
    """Centroids of a sample; then all rows, chunk by chunk, each a file in the order of the lists."""

    def __init__(self, live: LiveRows, coding: Coding, path: Path, pause: Callable[[], None]) -> None:
        self._live, self._coding, self._path, self._pause = live, coding, path, pause
        self._nlist = lists_for(len(live))
        self._chunks: list[Path] = []
        self.order = np.empty(0, np.int64)

    def encode(self) -> None:
        bz, keeping = self._coding.bz, self._coding.keeping
        centroids = kmeans(self._sample(), self._nlist, 0, self._pause, _MOST_DIRECT)
        self._engine = assigning(bz, centroids)
        lists = np.empty(len(self._live), np.uint32)
        filled: list[tuple[NDArray[np.uint8], NDArray[np.uint8], Ids]] = []
        first = done = 0
        for piece in self._live.pieces():
            codes = piece.codes(bz, keeping)
            vectors = piece.vectors(bz, keeping) if keeping is not None else bz.reconstructed(codes)
            # Through groups the whole piece: a group's centroids are multiplied with all rows that look at it.
            step = max(64, _ASSIGNED // centroids.size) if self._nlist <= _MOST_RANKED else piece.size
            for begin in range(0, piece.size, step):
                some = vectors[begin : begin + step]
                lists[done : done + len(some)] = self._engine.assign(np.ascontiguousarray(some), roughly=True)
                done += len(some)
                self._pause()
            filled.append((codes.planes, codes.factor_rows(), piece.ids()))
            if done - first >= _CHUNK or done == len(self._live):
                self._write(first, filled, lists[first:done])
                first, filled = done, []
                self._pause()
        self.order = np.argsort(lists, kind="stable")

    def _sample(self) -> Floats:
        """Vectors drawn evenly."""
        width = 4 * self._coding.bz.inner_dim
        most = max(_FEWEST * self._nlist, min(_SAMPLE * self._nlist, _SAMPLE_BYTES // width))
        chosen = np.sort(np.random.default_rng(0).permutation(len(self._live))[:most])
        sample = np.empty((len(chosen), self._coding.bz.inner_dim), np.float32)
        done = 0
        for piece in self._live.pieces(chosen):
            sample[done : done + piece.size] = piece.vectors(self._coding.bz, self._coding.keeping)
            done += piece.size
            self._pause()
        return sample

    def _write(
        self, first: int, filled: list[tuple[NDArray[np.uint8], NDArray[np.uint8], Ids]], lists: NDArray[np.uint32]
    ) -> None:
        chunk = self._path.with_name(f"{self._path.name}.chunk{len(self._chunks)}")
        self._chunks.append(chunk)
        planes, factors, ids = (np.ascontiguousarray(np.concatenate(column)) for column in zip(*filled, strict=True))
        self._engine.write_chunk(str(chunk), first, planes, factors, lists, ids)

    def save(self, path: Path, sections: Mapping[str, bytes | mmap]) -> None:
        searched = IVFIndex(self._coding.bz, self._nlist)._sections()["search"]
        chunks = [str(chunk) for chunk in self._chunks]
        self._engine.merge(
            *(str(path), chunks, {"search": searched, **sections}, _MERGE_BYTES), lambda _done, _rows: self._pause()
        )

    def remove_chunks(self) -> None:
        for chunk in self._chunks:
            chunk.unlink(missing_ok=True)
