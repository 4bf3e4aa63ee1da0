"""Texts beside the rows of a segment, payloads and keys of ids: two sections of its file each, read in place.

`payload_at` uint64[rows + 1] says where each row's text begins and the last one ends; `payload` is UTF-8. A row without
a payload has an empty text; a segment without any has neither section. `key_at` and `key`, the bytes of keys
(`bebr.collection.keys`), are the same for ids that are no ints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.arrays import Ids
from bebr.errors import CorruptFile
from bebr.index.files import Sections
from bebr.lazy import lazy_property

# Copied at a time, or one text where it is longer.
_PIECE_BYTES = 1 << 20


class PayloadColumn:
    """The texts of a segment's rows, by row position."""

    names = "payload_at", "payload"

    def __init__(self, at: NDArray[np.uint64], text: NDArray[np.uint8], source: str) -> None:
        self._at, self._text, self._source = at, text, source

    @classmethod
    def read(cls, sections: Sections, rows: int, source: str) -> Self | None:
        """Of a file's sections; None where it has none. CorruptFile if the sections do not fit `rows` or each other."""
        name_at, name = cls.names
        if name_at not in sections and name not in sections:
            return None
        if name_at not in sections or name not in sections:
            raise CorruptFile(f"{source}: section {name_at!r} comes with {name!r}: one of them is missing")
        if len(sections[name_at]) != 8 * (rows + 1):
            raise CorruptFile(
                f"{source}: section {name_at!r} has {len(sections[name_at])} bytes: want {8 * (rows + 1)}"
            )
        at, text = sections[name_at].view("<u8"), sections[name]
        if at[0] != 0 or at[-1] != len(text):
            raise CorruptFile(f"{source}: section {name_at!r} names {at[-1]} bytes of text: {name!r} has {len(text)}")
        return cls(at, text, source)

    @lazy_property
    def engine(self) -> core.MappedTexts:
        """The same, for a search that is no Python."""
        return core.MappedTexts(self._at, self._text)

    def data(self, row: int) -> bytes:
        """The bytes of `row`, b"" for none."""
        begin, end = int(self._at[row]), int(self._at[row + 1])
        if begin > end:
            self._damaged(row)
        return self._text[begin:end].tobytes()

    def each(self, rows: Ids) -> list[bytes]:
        """The bytes of each of `rows` int64[n]: `data` of many, in a quarter of its time."""
        joined, ends = b"".join(self.pieces(rows)), np.cumsum(self.lengths(rows)).tolist()
        return [joined[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=False)]

    def text(self, row: int) -> str:
        """The JSON text of the payload of `row`, "" for none. CorruptFile if it is not text."""
        try:
            return self.data(row).decode()
        except UnicodeDecodeError as error:
            raise CorruptFile(f"{self._source}: the payload of row {row} is not UTF-8") from error

    def lengths(self, rows: Ids) -> Ids:
        """Bytes of the texts of `rows` int64[n], int64[n]."""
        lengths = (self._at[rows + 1] - self._at[rows]).astype(np.int64)
        if len(lengths) and lengths.min() < 0:
            self._damaged(int(rows[np.argmin(lengths)]))
        return lengths

    def pieces(self, rows: Ids) -> Iterator[bytes]:
        """The texts of `rows` int64[n], some at a time."""
        ends = np.cumsum(self.lengths(rows))
        begin = 0
        while begin < len(rows):
            before = ends[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, before + _PIECE_BYTES, side="right")))
            yield core.join_texts(self._at, self._text, rows[begin:end])
            begin = end

    def _damaged(self, row: int) -> NoReturn:
        raise CorruptFile(f"{self._source}: section {self.names[0]!r} falls at row {row}")


class KeyColumn(PayloadColumn):
    """The keys of a segment's rows, b"" for an int."""

    names = "key_at", "key"


class PayloadWriter:
    """Collects the sections of a column of a new segment, row after row, in two files rather than in memory."""

    def __init__(self, at: IO[bytes], text: IO[bytes], names: tuple[str, str]) -> None:
        self._at, self._text, self._names = at, text, names
        self._at.write(np.zeros(1, "<u8").tobytes())
        self._end = 0

    @staticmethod
    @contextmanager
    def beside(folder: Path, column: type[PayloadColumn] = PayloadColumn) -> Iterator[PayloadWriter]:
        """With nameless files of `folder`, for the length of a block."""
        with TemporaryFile(dir=folder) as at, TemporaryFile(dir=folder) as text:
            yield PayloadWriter(at, text, column.names)

    def add(self, lengths: Ids, pieces: Iterable[bytes]) -> None:
        """The next rows: the bytes of each text, int64[n], and all texts, in pieces that are theirs when joined."""
        ends = self._end + np.cumsum(lengths)
        self._at.write(ends.astype("<u8").tobytes())
        self._text.writelines(pieces)
        self._end = int(ends[-1]) if len(ends) else self._end

    def sections(self) -> dict[str, mmap]:
        """The sections, good as long as the files are there; none where no row has a text."""
        if self._end == 0:
            return {}
        return {name: mapped(file) for name, file in zip(self._names, (self._at, self._text), strict=True)}


def mapped(file: IO[bytes]) -> mmap:
    """What was written to a file, which is not empty."""
    file.flush()
    return mmap(file.fileno(), 0, access=ACCESS_READ)
