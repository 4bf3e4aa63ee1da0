"""Indexes whose searches may run on a device, and their rows there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from threading import Lock
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr import core
from bebr.arrays import Floats, Ids, as_ids, as_radius
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes, PreparedQueries
from bebr.device import Device, on_a_device, places_of
from bebr.index.base import Hits, Index, check_k, core_queries, format_arguments, search_options
from bebr.index.sizes import parse_size

Parts = tuple[NDArray[np.uint32], NDArray[np.uint32]]
"""``(begin, lists)``: query i looks at ``lists[begin[i] : begin[i + 1]]``."""


Resident = int | str | None
"""What of the rows each device keeps in its memory. None: all where they fit, else none of them for long: windows are
copied there for each batch. ``"20GiB"``, or bytes: the same, of at most so many bytes. ``"sign"``: sign planes, factors
and ids; other planes stay in pinned memory of the host, where kernels read those of rows that a bound on the score
cannot rule out. Answers are the same."""


class Whole(NamedTuple):
    """Of all rows, of at most so many bytes; else ``LimitExceeded``."""

    most: int


class _Rows(Protocol):
    """Rows on a device, which do not change (csrc/bind/cuda.cpp)."""

    resident: bool
    """Whether all of them are in its memory."""
    bytes: int
    """Of its memory."""

    def search(
        self,
        y: Floats,
        base: Floats,
        k: int,
        parts: Parts | None,
        min_scores: Floats | None,
        allow: NDArray[np.bool_] | None,
    ) -> tuple[Floats, Ids]: ...

    def search_there(
        self,
        y: Floats,
        base: Floats,
        k: int,
        parts: Parts | None,
        min_scores: Floats | None,
        allow: NDArray[np.bool_] | None,
        offset: Floats | None,
        scale: float,
        calibration: tuple[float, float] | None,
        radius: float | None,
    ) -> tuple[Any, Any]: ...


class Wanted(NamedTuple):
    """Which rows a search may find. ``allow``: int64 ids; ``dead``, ``rows``: bitmaps by position, of those that were
    removed and of those that a filter lets through. None: all."""

    allow: Ids | None = None
    dead: NDArray[np.uint64] | None = None
    rows: NDArray[np.uint64] | None = None


class _Shard(NamedTuple):
    """What one device has of an index."""

    rows: _Rows
    ids: Ids

    def allowed(self, asked: Wanted, engine: core.Index) -> NDArray[np.bool_] | None:
        """Whether each row may be found; None: all may."""
        if asked.allow is None and asked.dead is None and asked.rows is None:
            return None
        found = np.ones(len(self.ids), np.bool_) if asked.allow is None else np.isin(self.ids, asked.allow)
        if asked.dead is not None or asked.rows is not None:
            at = engine.positions(self.ids)
            if asked.dead is not None:
                found &= ~_has(asked.dead, at)
            if asked.rows is not None:
                found &= _has(asked.rows, at)
        return found


def _has(bitmap: NDArray[np.uint64], at: Ids) -> NDArray[np.bool_]:
    """Which of these bits are set; none is past the last word."""
    words = np.zeros(len(at), np.uint64)
    there = at >> 6 < len(bitmap)
    words[there] = bitmap[at[there] >> 6]
    return (words >> (at & 63).astype(np.uint64) & np.uint64(1)).astype(np.bool_)


class DeviceRows:
    """A copy of an engine's rows on a device, or a part of them on each of several, made anew by the first search after
    a change. Threads: any number."""

    def __init__(self, device: Device, bz: Binarizer, resident: Resident | Whole = None) -> None:
        self._places = places_of(device)
        self._residency = _residency(resident)
        self.device = device if isinstance(device, str) else tuple(device)
        self._arguments = format_arguments(bz)
        self._lock = Lock()
        self._changes = 0
        self._copy: tuple[core.Index, int, list[_Shard]] | None = None

    def load(self, engine: core.Index) -> None:
        """Copy the rows now. ``LimitExceeded`` where they do not fit."""
        self._current(engine)

    def changed(self) -> None:
        """The engine's rows are others than before."""
        with self._lock:
            self._changes += 1

    @property
    def bytes(self) -> int:
        """What the rows have of a device's memory, of several the most."""
        with self._lock:
            return 0 if self._copy is None else max(shard.rows.bytes for shard in self._copy[2])

    def brought(self, queries: Any, dim: int) -> Floats:
        """Queries that lie on this device, or the first of several, as float32[n, d] of the host, where they are
        prepared."""
        extension, number = self._places[0]
        found: Floats = extension.brought(number, queries, dim)
        return found

    def put(self, hits: Hits) -> Hits:
        """Answers of the host as arrays on this device, or the first of several."""
        extension, number = self._places[0]
        return Hits(*extension.put(number, hits.scores, hits.ids))

    @property
    def is_one(self) -> bool:
        """Whether a single device has all rows."""
        return len(self._places) == 1

    def search(
        self,
        engine: core.Index,
        prepared: PreparedQueries,
        k: int,
        parts: Parts | None,
        min_scores: Floats | None,
        wanted: Wanted,
    ) -> tuple[Floats, Ids]:
        """The k best rows by (score, id), as the engine's exact search of all rows finds them, or of these parts."""
        shards = self._current(engine)

        def found(shard: _Shard) -> tuple[Floats, Ids]:
            return shard.rows.search(prepared.y, prepared.base, k, parts, min_scores, shard.allowed(wanted, engine))

        if self.is_one:
            return found(shards[0])
        from concurrent.futures import ThreadPoolExecutor  # with logging, 6 ms of `import bebr`

        with ThreadPoolExecutor(len(shards)) as pool:
            return best_of(list(pool.map(found, shards)), k)

    def search_there(
        self,
        engine: core.Index,
        prepared: PreparedQueries,
        k: int,
        parts: Parts | None,
        min_scores: Floats | None,
        wanted: Wanted,
        scale: float | None,
        radius: float | None,
    ) -> Hits:
        """The same on a single device, which the answer stays on, in the metric's own unit. scale: what distances are
        divided by (:meth:`Binarizer.metric_scores`); None: scores are similarities."""
        shard = self._current(engine)[0]
        offset = None if scale is None else prepared.offset
        calibration = None if prepared.calibration == (1.0, 0.0) else prepared.calibration
        allowed = shard.allowed(wanted, engine)
        asked = prepared.y, prepared.base, k, parts, min_scores, allowed, offset, scale or 1.0, calibration, radius
        return Hits(*shard.rows.search_there(*asked))

    def _current(self, engine: core.Index) -> list[_Shard]:
        with self._lock:
            if self._copy is None or self._copy[0] is not engine or self._copy[1] != self._changes:
                self._copy = None  # gives its memory back
                if engine.kind == "ivf":
                    rows, sizes = engine.rows_in_lists()
                else:
                    rows = engine.rows()
                    sizes = np.array([len(rows[2])], np.uint64)
                shards = []
                for (extension, number), (part, some) in zip(
                    self._places, _divided(sizes, rows, len(self._places)), strict=True
                ):
                    made = extension.Rows(number, extension.RowFormat(*self._arguments), part, *some, *self._residency)
                    shards.append(_Shard(made, some[2]))
                if not all(shard.rows.resident for shard in shards):
                    warnings.warn(
                        f"device={self.device!r} has no room for all rows: they stay in the host's memory, and each "
                        "batch of queries copies those that it looks at (docs/gpu.md)",
                        stacklevel=4,
                    )
                self._copy = (engine, self._changes, shards)
            return self._copy[2]


def _residency(resident: Resident | Whole) -> tuple[int | None, str]:
    """Bytes at most, and of what kind. ``ValueError`` for what is neither."""
    if isinstance(resident, Whole):
        return resident.most, "whole"
    if resident is None or resident == "sign":
        return None, "any" if resident is None else "sign"
    try:
        return parse_size(resident, "resident"), "any"
    except ValueError as error:
        raise ValueError(f"resident is {resident!r}: want None, 'sign', or bytes as '20GiB'") from error


_HostRows = tuple[NDArray[np.uint8], NDArray[np.uint8], Ids]


def _divided(sizes: NDArray[np.uint64], rows: _HostRows, count: int) -> Iterator[tuple[NDArray[np.uint64], _HostRows]]:
    """Rows in parts of these sizes, for ``count`` devices: each has as many rows of every part, within one."""
    if count == 1:
        yield sizes, rows
        return
    of = sizes.astype(np.int64)
    part = np.repeat(np.arange(len(of)), of)
    within = np.arange(len(part)) - np.repeat(np.cumsum(of) - of, of)
    device = (within * count // np.repeat(of, of) + part) % count
    for i in range(count):
        mine = device == i
        yield (
            np.bincount(part[mine], minlength=len(of)).astype(np.uint64),
            (
                rows[0][mine],
                rows[1][mine],
                rows[2][mine],
            ),
        )


def best_of(found: list[tuple[Floats, Ids]], k: int) -> tuple[Floats, Ids]:
    """The k best of what was found in several places, none of it in two, by (score, id)."""
    if len(found) == 1:
        return found[0]
    scores, ids = (np.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))
    best = np.lexsort((ids, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)


Self = TypeVar("Self", bound="DeviceIndex")


class DeviceIndex(Index):
    """An index whose searches run on the CPU or on a device (docs/gpu.md)."""

    _device: DeviceRows | None = None

    def to(self: Self, device: Device, *, resident: Resident = None) -> Self:
        """Search on ``device`` from now on, such as ``"cuda:1"`` or ``"cpu"``; returns this index. The rows are there
        when it returns. ``["cuda:0", "cuda:1"]``: each has a part of the rows, and what they find is merged.
        resident: what of them each device keeps in its memory: None: all where they fit; ``"20GiB"``: at most so much,
        what does not fit comes for each batch of queries; ``"sign"``: sign planes (docs/gpu.md).

        :class:`LimitExceeded` names what the rows need and what the device has left; :class:`DeviceUnavailable` says
        why it cannot be used. Then searches go on where they ran.
        """
        if device == "cpu":
            if resident is not None:
                raise ValueError(f"resident is {resident!r} on 'cpu': want None, for it is of another device")
            self._device = None
            return self
        rows = DeviceRows(device, self._binarizer, resident)
        rows.load(self._engine)
        self._device = rows
        return self

    @property
    def device(self) -> str | tuple[str, ...]:
        """Where searches run."""
        where = self._device
        return "cpu" if where is None else where.device

    def _changed(self) -> None:
        if (device := self._device) is not None:
            device.changed()

    def _add(self, codes: Codes, ids: Ids, vectors: Floats | None) -> None:
        super()._add(codes, ids, vectors)
        self._changed()

    def remove(self, ids: ArrayLike) -> int:
        removed = super().remove(ids)
        if removed:
            self._changed()
        return removed

    def _on_host(self, queries: Any, dim: int) -> Any:
        """Queries where they can be prepared: those on this index's device are copied to the host. ``ValueError`` names
        what is wrong with these, :meth:`Binarizer.prepare` says it of others."""
        if not on_a_device(queries):
            return queries
        if self._device is None:
            raise ValueError("queries are on a CUDA device, and this index searches on the CPU: to() moves it")
        return self._device.brought(queries, dim)

    def _found_on(
        self,
        device: DeviceRows,
        prepared: PreparedQueries,
        k: int,
        candidates: int,
        radius: float | None,
        allow: ArrayLike | None,
        there: bool,
        **options: Any,
    ) -> Hits:
        """:meth:`_found` on a device, where every search is exact. there: the answer is arrays on it. options: of an
        IVF, those by which it chooses lists."""
        engine, depth = self._engine, max(check_k(k), candidates)
        radius = None if radius is None else as_radius(radius)
        floors = None if radius is None or candidates else self._binarizer.engine_min_scores(radius, prepared)
        allowed = None if allow is None else as_ids(allow, "allow")
        parts = None
        if engine.kind == "ivf":
            how = search_options(depth, min_scores=floors, exact=True, **options)
            parts = engine.looked_at(core_queries(prepared, False), how, allowed)
        if there and candidates == 0 and device.is_one:
            scale = float(self._binarizer.settings.factor_scale) if self._binarizer.metric == "l2" else None
            return device.search_there(engine, prepared, depth, parts, floors, Wanted(allowed), scale, radius)
        scores, ids = device.search(engine, prepared, depth, parts, floors, Wanted(allowed))
        hits = self._within(radius, self._answer(prepared, k, candidates, scores, ids))
        return device.put(hits) if there else hits

    def _check_there(self, there: bool) -> None:
        """``ValueError`` for an answer that is to stay on a device, of a search on the CPU."""
        if there:
            raise ValueError("there is True, and this index searches on the CPU: to() moves it")

    def _refuse(self, what: str) -> None:
        """``ValueError`` for what devices do not do."""
        if self._device is not None:
            raise ValueError(f"{what} runs on the CPU alone, and this index searches on {self.device!r}")
