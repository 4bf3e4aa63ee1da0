"""The version of every collection, written a second time, outside of SQLite.

SQLite passes over a damaged end of its write-ahead log as if it had never been written. So each commit, before it is
acknowledged, also writes the new version here: a collection whose catalog is older has lost commits. This file is not
synced: after a power failure it may be the older one, which is harmless, since commits themselves are synced.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bebr.files import write_atomically

_log = logging.getLogger("bebr.store")

SLOT_BYTES = 256
_MAGIC = b"BEBRVRS1"
# Magic, id, version, dropped, name: that of a collection has up to 128 bytes, that of its successor a few more.
_FIELDS = struct.Struct("<8sQQB160s")
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Slot:
    """What was acknowledged last of a collection."""

    id: int
    name: str
    version: int
    dropped: bool = False

    def packed(self, place: int) -> bytes:
        fields = _FIELDS.pack(_MAGIC, self.id, self.version, self.dropped, self.name.encode())
        body = fields.ljust(SLOT_BYTES - _CRC.size, b"\0")
        return body + _CRC.pack(zlib.crc32(body, place))


def read_slots(data: bytes) -> tuple[dict[int, Slot], dict[int, str]]:
    """The slots of a file by place, and what is wrong by place. A place of zeros is free."""
    slots, wrong = {}, {}
    for place in range(-(-len(data) // SLOT_BYTES)):
        piece = data[place * SLOT_BYTES : (place + 1) * SLOT_BYTES]
        if not any(piece):
            continue
        if len(piece) < SLOT_BYTES:
            wrong[place] = f"has {len(piece)} of {SLOT_BYTES} bytes"
            continue
        magic, id, version, dropped, name = _FIELDS.unpack_from(piece)
        expected, found = _CRC.unpack(piece[-_CRC.size :])[0], zlib.crc32(piece[: -_CRC.size], place)
        if magic != _MAGIC or expected != found:
            wrong[place] = f"checksum expected {expected:08x}, found {found:08x}"
        else:
            slots[place] = Slot(id, name.rstrip(b"\0").decode(), version, bool(dropped))
    return slots, wrong


class Slots(Protocol):
    """Where acknowledged versions are written a second time. `expected`: whether there is such a place."""

    @property
    def path(self) -> Path: ...

    @property
    def expected(self) -> bool: ...

    @property
    def found(self) -> Mapping[int, Slot]: ...

    @property
    def wrong(self) -> Mapping[int, str]: ...

    def record(self, slot: Slot) -> None: ...

    def close(self) -> None: ...


class NoSlots:
    """Of a database that notices by itself that its log is damaged, as PostgreSQL does."""

    path, expected = Path(), False

    def __init__(self) -> None:
        self.found: dict[int, Slot] = {}
        self.wrong: dict[int, str] = {}

    def record(self, slot: Slot) -> None:
        """Nothing: there is no such place."""

    def close(self) -> None:
        """Nothing is open."""


class Versions:
    """The file `path` of slots, one a collection. It is made when there is something to write.

    `found`: the slots that were there, by collection. `wrong`: what is wrong with others, by place.
    """

    expected = True

    def __init__(self, path: Path) -> None:
        self.path = path
        data = path.read_bytes() if path.exists() else b""
        slots, self.wrong = read_slots(data)
        self.found = {slot.id: slot for slot in sorted(slots.values(), key=lambda slot: slot.version)}
        self._places = {slot.id: place for place, slot in slots.items()}
        self._end = -(-len(data) // SLOT_BYTES)
        self._file = -1

    def record(self, slot: Slot) -> None:
        """Called after a commit, before it is acknowledged. That it fails is no reason to fail the commit, which is
        done: a version that is missing here says nothing."""
        place = self._places.setdefault(slot.id, self._end)
        self._end = max(self._end, place + 1)
        try:
            if self._file < 0:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.pwrite(self._file, slot.packed(place), place * SLOT_BYTES)
        except OSError:
            _log.warning("%s: version %d of %r not written", self.path, slot.version, slot.name, exc_info=True)

    def rewrite(self, slots: Sequence[Slot]) -> None:
        """Holds `slots` and nothing else, on disk when this returns."""
        self.close()
        write_atomically(self.path, b"".join(slot.packed(place) for place, slot in enumerate(slots)))
        self._places = {slot.id: place for place, slot in enumerate(slots)}
        self._end, self.wrong = len(slots), {}

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
