"""Rows of several indexes in the memory of one device, as far as they fit: those of a database's segment files."""

from __future__ import annotations

import logging
from threading import Lock
from weakref import WeakSet

from bebr.device import Device, places_of
from bebr.errors import LimitExceeded
from bebr.index.base import Index
from bebr.index.device import DeviceIndex, DeviceRows, Whole
from bebr.index.sizes import parse_size

_log = logging.getLogger("bebr.index")

# Bytes that are left to the queries of a batch, at most, where nobody says how much rows may have.
_MOST_WORK = 512 << 20


class DevicePool:
    """device: as of :class:`bebr.FlatIndex`. memory: bytes, or ``"20GiB"``, that rows may have on it; None: all but
    what queries need. Threads: any number. ``ValueError``; :class:`DeviceUnavailable` says why there is none."""

    def __init__(self, device: Device, memory: int | str | None = None) -> None:
        self._places = places_of(device)
        self._device = device
        self._memory = None if memory is None else parse_size(memory, "device_memory")
        self._there: WeakSet[DeviceRows] = WeakSet()
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Of the device, such as ``"cuda:0"``."""
        return self._device if isinstance(self._device, str) else ",".join(self._device)

    @property
    def held(self) -> int:
        """Bytes that rows have there now."""
        return sum(rows.bytes for rows in list(self._there))

    def place(self, index: Index) -> Placed | None:
        """The rows of an index that does not change any more; None for one of a kind that the CPU alone searches."""
        return Placed(self, index) if isinstance(index, DeviceIndex) else None

    def load(self, index: Index) -> DeviceRows:
        """Copies its rows there. ``LimitExceeded``."""
        with self._lock:
            rows = DeviceRows(self._device, index.binarizer, Whole(self._left()))
            rows.load(index._engine)
            self._there.add(rows)
            return rows

    def _left(self) -> int:
        if self._memory is not None:
            return max(0, self._memory - self.held)
        left = min(extension.memory_left(number) for extension, number in self._places)
        return int(left - min(left // 8, _MOST_WORK))


class Placed:
    """The rows of an index where there is room for them. Threads: any number."""

    def __init__(self, pool: DevicePool, index: Index) -> None:
        self._pool, self._index = pool, index
        self._rows: DeviceRows | None = None
        self._held: int | None = None  # by others, when there was no room
        self._lock = Lock()
        self.rows()

    @property
    def device(self) -> str:
        """Where its searches run now."""
        return "cpu" if self._rows is None else self._pool.name

    def rows(self) -> DeviceRows | None:
        """Where searches find them; None: on the CPU, for there was no room. Once others have given room back, it is
        tried again, by the search that notices."""
        if self._rows is not None or (self._held is not None and self._pool.held >= self._held):
            return self._rows
        if self._lock.acquire(blocking=False):
            try:
                if self._rows is None:
                    self._rows = self._pool.load(self._index)
            except LimitExceeded as error:
                if self._held is None:  # as text: the error's traceback holds this object
                    _log.warning("%d rows are searched on the CPU: %s", len(self._index), str(error))
                self._held = self._pool.held
            finally:
                self._lock.release()
        return self._rows
