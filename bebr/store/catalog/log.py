"""Finds where SQLite's write-ahead log is damaged; SQLite itself drops that place and all that follows in silence.

Format: a header of 32 bytes (magic, version, page size, sequence, two salts, checksum), then frames: 24 bytes (page,
size of the database after a commit, the header's salts, checksum) and a page. Checksums run on from frame to frame.
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER, _FRAME = 32, 24
_BIG_ENDIAN_SUMS = 0x377F0683


def damaged_frame(path: Path) -> str | None:
    """Which frame of the log is the first that is not as it was written, with its checksums; None where there is none.

    The last frame before a power failure may be one too.
    """
    data = path.read_bytes() if path.exists() else b""
    if len(data) < _HEADER:
        return f"the header needs {_HEADER} bytes, the file has {len(data)}" if data else None
    magic, _, page, _ = struct.unpack_from(">4I", data)
    order = ">" if magic == _BIG_ENDIAN_SUMS else "<"
    sums = _summed(data[:24], (0, 0), order)
    if struct.unpack_from(">2I", data, 24) != sums or not 512 <= page <= 65536:
        return f"the header: checksum expected {_text(struct.unpack_from('>2I', data, 24))}, found {_text(sums)}"
    salts = data[16:24]
    for number, at in enumerate(range(_HEADER, len(data), _FRAME + page)):
        frame = data[at : at + _FRAME + page]
        if frame[8:16] != salts:
            return None  # left from before the log began anew
        if len(frame) < _FRAME + page:
            return f"frame {number} has {len(frame)} of {_FRAME + page} bytes"
        sums = _summed(frame[_FRAME:], _summed(frame[:8], sums, order), order)
        expected = struct.unpack_from(">2I", frame, 16)
        if expected != sums:
            return f"frame {number} at byte {at}: checksum expected {_text(expected)}, found {_text(sums)}"
    return None


def _summed(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    a, b = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for i in range(0, len(words), 2):
        a = (a + words[i] + b) & 0xFFFFFFFF
        b = (b + words[i + 1] + a) & 0xFFFFFFFF
    return a, b


def _text(sums: tuple[int, ...]) -> str:
    return "".join(f"{value:08x}" for value in sums)
