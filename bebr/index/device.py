"""Indexes whose searches may run on a device, and their rows there."""

from __future__ import annotations

from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr import core
from bebr.arrays import Floats, Ids, as_ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes, PreparedQueries
from bebr.device import extension_of, on_a_device
from bebr.index.base import Hits, Index, check_k, core_queries, format_arguments, search_options

Parts = tuple[NDArray[np.uint32], NDArray[np.uint32]]
"""``(begin, lists)``: query i looks at ``lists[begin[i] : begin[i + 1]]``."""


class _Rows(Protocol):
    """Rows on a device, which do not change (csrc/bind/cuda.cpp)."""

    def search(
        self,
        y: Floats,
        base: Floats,
        k: int,
        parts: Parts | None,
        min_scores: Floats | None,
        allow: NDArray[np.bool_] | None,
    ) -> tuple[Floats, Ids]: ...


class DeviceRows:
    """A copy of an engine's rows on a device, made anew by the first search after a change. Threads: any number."""

    def __init__(self, device: str, bz: Binarizer) -> None:
        self.device = device
        self._extension, self._number = extension_of(device)
        self._format = self._extension.RowFormat(*format_arguments(bz))
        self._lock = Lock()
        self._changes = 0
        self._copy: tuple[core.Index, int, _Rows, Ids] | None = None

    def load(self, engine: core.Index) -> None:
        """Copy the rows now. ``LimitExceeded`` where they do not fit."""
        self._current(engine)

    def changed(self) -> None:
        """The engine's rows are others than before."""
        with self._lock:
            self._changes += 1

    def brought(self, queries: Any, dim: int) -> Floats:
        """Queries that lie on this device, as float32[n, d] of the host, where they are prepared."""
        found: Floats = self._extension.brought(self._number, queries, dim)
        return found

    def search(
        self,
        engine: core.Index,
        prepared: PreparedQueries,
        k: int,
        parts: Parts | None,
        min_scores: Floats | None,
        allow: Ids | None,
    ) -> tuple[Floats, Ids]:
        """The k best rows by (score, id), as the engine's exact search of all rows finds them, or of these parts."""
        rows, ids = self._current(engine)
        allowed = None if allow is None else np.isin(ids, allow)
        return rows.search(prepared.y, prepared.base, k, parts, min_scores, allowed)

    def _current(self, engine: core.Index) -> tuple[_Rows, Ids]:
        with self._lock:
            if self._copy is None or self._copy[0] is not engine or self._copy[1] != self._changes:
                self._copy = None  # gives its memory back
                if engine.kind == "ivf":
                    rows, sizes = engine.rows_in_lists()
                else:
                    rows = engine.rows()
                    sizes = np.array([len(rows[2])], np.uint64)
                made = self._extension.Rows(self._number, self._format, sizes, *rows)
                self._copy = (engine, self._changes, made, rows[2])
            return self._copy[2:]


Self = TypeVar("Self", bound="DeviceIndex")


class DeviceIndex(Index):
    """An index whose searches run on the CPU or on a device (docs/gpu.md)."""

    _device: DeviceRows | None = None

    def to(self: Self, device: str) -> Self:
        """Search on ``device`` from now on, such as ``"cuda:1"`` or ``"cpu"``; returns this index. The rows are there
        when it returns.

        :class:`LimitExceeded` names what the rows need and what the device has left; :class:`DeviceUnavailable` says
        why it cannot be used. Then searches go on where they ran.
        """
        if device == "cpu":
            self._device = None
            return self
        rows = DeviceRows(device, self._binarizer)
        rows.load(self._engine)
        self._device = rows
        return self

    @property
    def device(self) -> str:
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
        if isinstance(queries, np.ndarray) or not on_a_device(queries):
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
        **options: Any,
    ) -> Hits:
        """:meth:`_found` on a device, where every search is exact. options: of an IVF, those by which it chooses
        lists."""
        engine, wanted = self._engine, max(check_k(k), candidates)
        floors = None if radius is None or candidates else self._binarizer.engine_min_scores(radius, prepared)
        allowed = None if allow is None else as_ids(allow, "allow")
        parts = None
        if engine.kind == "ivf":
            how = search_options(wanted, min_scores=floors, exact=True, **options)
            parts = engine.looked_at(core_queries(prepared, False), how, allowed)
        scores, ids = device.search(engine, prepared, wanted, parts, floors, allowed)
        return self._within(radius, self._answer(prepared, k, candidates, scores, ids))

    def _refuse(self, what: str) -> None:
        """``ValueError`` for what devices do not do."""
        if self._device is not None:
            raise ValueError(f"{what} runs on the CPU alone, and this index searches on {self.device!r}")
