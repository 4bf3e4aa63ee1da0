"""Segment files: rows that never change, mapped. What dies in them is the snapshot's business."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from bebr import core
from bebr.arrays import Ids
from bebr.binarizer import Binarizer
from bebr.collection.filter_tree import Filter
from bebr.errors import CorruptFile
from bebr.index.files import Sections, contents_digest, open_sections
from bebr.index.pool import Placed
from bebr.index.segments import ByK, Effort, file_part
from bebr.store.catalog.records import SegmentRow
from bebr.store.columns.file import SECTIONS, read_columns
from bebr.store.columns.table import Columns, nothing
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap
from bebr.store.files.kept import Keeping, Rows
from bebr.store.files.payloads import KeyColumn, PayloadColumn
from bebr.store.snapshots.copies import Copies
from bebr.store.snapshots.matching import Answers, matching_rows
from bebr.store.text.file import read_text
from bebr.store.text.growing import GrowingText
from bebr.store.text.index import TextIndex

SUFFIX = ".bebr"

# Rows whose payloads are looked at at a time.
PIECE = 8192

# Of a file with a row that is not at the first place of its id.
MOVED = "key_moved"
# Of a file with rows that have no vector: which, as a bitmap.
BARE = "bare"


def new_file_name(collection: int) -> str:
    """A name never used before, so that a file can only be what the catalog says it is."""
    return f"{collection}-{uuid.uuid4().hex}{SUFFIX}"


def pending_path(folder: Path, file: str) -> Path:
    """Where a segment lies until it is installed: a name that the next opening deletes if a kill comes before."""
    return folder / f"{file}.tmp.seal"


def check_file(path: Path, row: SegmentRow, source: Path | str) -> None:
    """CorruptFile names `source` where a file's size or digest is not what the catalog says."""
    size = path.stat().st_size
    if size != row.bytes:
        raise CorruptFile(f"{source} has {size} bytes: the catalog says {row.bytes}")
    digest = contents_digest(path)
    if digest != row.digest:
        raise CorruptFile(f"{source} has digest {digest}: the catalog says {row.digest}")


class Segment:
    """The rows of the file at `path`. Opening checks it against the catalog's `row`; `verify`: every byte of it too.
    `keeping`: of the vectors that it holds, None where its collection keeps none. `text`: the fields that are searched
    by their words."""

    effort: Effort | None = None
    """Of searches, where it is in lists or a graph: set before anybody searches it."""
    rescored: ByK | None = None
    """How many of its best by code hold its k best by exact scores, where that was measured; set then too."""
    placed: Placed | None = None
    """Its rows on a device, set then too."""

    def __init__(
        self,
        path: Path,
        row: SegmentRow,
        bz: Binarizer,
        verify: bool,
        keeping: Keeping | None = None,
        text: Sequence[str] = (),
    ) -> None:
        if not path.exists():
            raise CorruptFile(f"{path} is missing: the catalog lists it with {row.rows} rows")
        check_file(path, row, path)
        index, sections = open_sections(path, mmap=True, verify=verify, model=bz)
        if len(index) != row.rows:
            raise CorruptFile(f"{path} has {len(index)} rows: the catalog says {row.rows}")
        self.row, self.rows, self.index = row, row.rows, index
        self.payloads = PayloadColumn.read(sections, row.rows, str(path))
        self._keys = KeyColumn.read(sections, row.rows, str(path))
        self.keyed, self.moved = self._keys is not None, MOVED in sections
        self.bare = _read_bare(sections, row.rows, str(path))
        self.keeping = keeping
        own = keeping is not None and index.raw_type == keeping.kind  # of an attached file, in an order of their own
        self._kept = None if own or keeping is None else keeping.read(sections, row.rows, str(path))
        self._path = path
        # Read when somebody filters: a million titles take a tenth of a second, and are as many strings in memory.
        self._column_sections = {name: sections[name] for name in SECTIONS if name in sections}
        self._columns: Columns | None = None
        if self.payloads is None:
            self._columns = Columns(row.rows, {}, True)
        self._fields = text
        self._words = read_text(sections, text, row.rows, str(path))
        self._making = threading.Lock()  # over _columns and _words
        self._answers = Answers()
        self.copies = Copies(index)

    @property
    def origin(self) -> object:
        """Itself."""
        return self

    def positions(self, ids: Ids) -> Ids:
        """The row of each of `ids`, int64[n]; −1 for none."""
        return self.index.positions(ids)

    def keys(self, rows: Ids) -> list[bytes]:
        """The key of each row's id, b"" for an int."""
        return [b""] * len(rows) if self._keys is None else self._keys.each(rows)

    def key_bytes(self, rows: Ids) -> Ids:
        """The lengths of these keys, int64[n]."""
        return np.zeros(len(rows), np.int64) if self._keys is None else self._keys.lengths(rows)

    def key_pieces(self, rows: Ids) -> Iterable[bytes]:
        """These keys, one after the other, in pieces."""
        return () if self._keys is None else self._keys.pieces(rows)

    def kept(self, rows: Ids) -> Rows:
        """The vectors of these rows as they are stored."""
        if self._kept is not None:
            return core.take_rows(self._kept, rows)
        assert self.index._raw is not None
        return self.index._raw.core.stored(self.index.ids[rows])

    def text_data(self, rows: Ids) -> list[bytes]:
        """The JSON text of each row's payload in UTF-8, b"" for none."""
        if self.payloads is None:
            return [b""] * len(rows)
        return self.payloads.each(rows)

    def engine(self, hidden: Bitmap | None) -> core.CollectionPart:
        """Its rows but the `hidden` ones, for a search that is no Python."""
        texts, keys = (None if column is None else column.engine for column in (self.payloads, self._keys))
        return file_part(self.index, hidden, self._kept, self.effort, texts, keys)

    def texts(self, rows: Ids) -> list[str]:
        """The JSON text of each row's payload, "" for none."""
        if self.payloads is None:
            return [""] * len(rows)
        return [self.payloads.text(row) for row in rows.tolist()]

    def matching(self, filter: Filter) -> Bitmap:
        """The rows that match, dead ones too, not to be changed."""
        try:
            return matching_rows(filter, self.columns(nothing), self.texts, self._answers)
        except IndexError as error:  # a row or a keyword past the last one
            raise CorruptFile(f"{self._path}: section 'column_data' does not fit the rows: {error}") from error

    def columns(self, pause: Callable[[], None]) -> Columns:
        """Of all rows; of a file without columns, made of the payloads once. `pause` is called between pieces of
        work."""
        with self._making:
            if self._columns is None:
                self._columns = read_columns(self._column_sections, self.rows, str(self._path))
            if self._columns is None:
                parts = []
                for begin in range(0, self.rows, PIECE):
                    texts = self.texts(np.arange(begin, min(begin + PIECE, self.rows)))
                    parts.append(Columns.of_texts([text.encode() for text in texts]))
                    pause()
                self._columns = Columns.joined(parts, pause)
            return self._columns

    @property
    def postings(self) -> TextIndex:
        """Of the words of all rows, dead ones too."""
        return self.text_index(nothing)

    def text_index(self, pause: Callable[[], None]) -> TextIndex:
        """The same; of a file without these fields, made of the payloads once. `pause` is called between pieces of
        work."""
        with self._making:
            if self._words is None:
                payload = (lambda row: b"") if self.payloads is None else self.payloads.data
                self._words = GrowingText(payload, self._fields).read(self.rows, pause).index()
            return self._words

    def text_bytes(self, rows: Ids) -> Ids:
        """The lengths of these texts in UTF-8, int64[n]."""
        return np.zeros(len(rows), np.int64) if self.payloads is None else self.payloads.lengths(rows)

    def text_pieces(self, rows: Ids) -> Iterable[bytes]:
        """These texts in UTF-8, one after the other, in pieces."""
        return () if self.payloads is None else self.payloads.pieces(rows)


def _read_bare(sections: Sections, rows: int, source: str) -> Bitmap | None:
    """The rows without a vector. CorruptFile for a bitmap of another size."""
    found = sections.get(BARE)
    if found is None:
        return None
    if len(found) != 8 * bitmaps.words(rows):
        raise CorruptFile(f"{source}: section {BARE!r} has {len(found)} bytes: want a bit for each of {rows} rows")
    return np.frombuffer(found, "<u8").astype(np.uint64)
