"""The rows of a flat index on a device."""

from __future__ import annotations

from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Floats, Ids
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import PreparedQueries
from bebr.device import extension_of
from bebr.index.base import format_arguments


class _FlatRows(Protocol):
    """Rows on a device, which do not change (csrc/bind/cuda.cpp)."""

    def search(
        self, y: Floats, base: Floats, k: int, min_scores: Floats | None, allow: NDArray[np.uint16] | None
    ) -> tuple[Floats, Ids]: ...


class DeviceRows:
    """A copy of an engine's rows on a device, made anew by the first search after a change. Threads: any number."""

    def __init__(self, device: str, bz: Binarizer, engine: core.Index) -> None:
        self.device = device
        self._extension, self._number = extension_of(device)
        self._format = self._extension.RowFormat(*format_arguments(bz))
        self._engine = engine
        self._lock = Lock()
        self._changes = 0
        self._copy: tuple[int, _FlatRows, Ids] | None = None

    def changed(self) -> None:
        """The engine's rows are others than before."""
        with self._lock:
            self._changes += 1

    def search(
        self, prepared: PreparedQueries, k: int, min_scores: Floats | None, allow: Ids | None
    ) -> tuple[Floats, Ids]:
        """The k best rows by (score, id), as the engine's exact search finds them."""
        rows, ids = self._current()
        mask = None if allow is None else _mask(np.isin(ids, allow))
        return rows.search(prepared.y, prepared.base, k, min_scores, mask)

    def _current(self) -> tuple[_FlatRows, Ids]:
        with self._lock:
            if self._copy is None or self._copy[0] != self._changes:
                self._copy = None  # gives its memory back
                planes, factors, ids = self._engine.rows()
                rows = self._extension.FlatRows(self._number, self._format, planes, factors, ids)
                self._copy = (self._changes, rows, ids)
            return self._copy[1:]


def _mask(allowed: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Bit i % 16 of entry i // 16 is that of row i."""
    padded = np.zeros((len(allowed) + 15) // 16 * 16, np.bool_)
    padded[: len(allowed)] = allowed
    return np.packbits(padded, bitorder="little").view("<u2").astype(np.uint16, copy=False)
