"""Segment files: rows that never change, mapped. What dies in them is the snapshot's business."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from bebr import _core
from bebr.arrays import Ids
from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile
from bebr.index import FlatIndex, open_index
from bebr.index.files import MODEL_DIGEST, contents_digest
from bebr.index.segments import TailRows
from bebr.store.payloads import PayloadColumn, payload_sections
from bebr.store.records import SegmentRow
from bebr.store.snapshot import PartView

SUFFIX = ".bebr"

# Rows copied at a time while a segment is written: small enough to stop or to give way soon.
PIECE = 32_768


def new_file_name(collection: int) -> str:
    """A name never used before, so that a file can only be what the catalog says it is."""
    return f"{collection}-{uuid.uuid4().hex}{SUFFIX}"


class Segment:
    """The rows of one file. Opening checks it against the catalog's `row`; `verify`: every byte of it too."""

    def __init__(self, folder: Path, row: SegmentRow, bz: Binarizer, verify: bool) -> None:
        path = folder / row.file
        if not path.exists():
            raise CorruptFile(f"{path} is missing: the catalog lists it with {row.rows} rows")
        size = path.stat().st_size
        if size != row.bytes:
            raise CorruptFile(f"{path} has {size} bytes: the catalog says {row.bytes}")
        digest = contents_digest(path)
        if digest != row.digest:
            raise CorruptFile(f"{path} has digest {digest}: the catalog says {row.digest}")
        index = open_index(path, mmap=True, verify=verify, model=bz)
        if not isinstance(index, FlatIndex):
            raise CorruptFile(f"{path} holds a {type(index).__name__}: a segment is a FlatIndex")
        if len(index) != row.rows:
            raise CorruptFile(f"{path} has {len(index)} rows: the catalog says {row.rows}")
        self.path, self.row, self.rows, self.index = path, row, row.rows, index
        self.payloads = PayloadColumn.read(_core.open_index(str(path), True, False)[1], row.rows, str(path))

    def positions(self, ids: Ids) -> Ids:
        """The row of each of `ids`, int64[n]; −1 for none."""
        return self.index.positions(ids)

    def texts(self, rows: Ids) -> list[str]:
        """The JSON text of each row's payload, "" for none."""
        if self.payloads is None:
            return [""] * len(rows)
        return [self.payloads.text(row) for row in rows.tolist()]

    def text_bytes(self, rows: Ids) -> Ids:
        """The lengths of these texts in UTF-8, int64[n]."""
        return np.zeros(len(rows), np.int64) if self.payloads is None else self.payloads.lengths(rows)

    def text_pieces(self, rows: Ids) -> Iterable[bytes]:
        """These texts in UTF-8, one after the other, in pieces; `rows` ascending."""
        return () if self.payloads is None or len(rows) == 0 else self.payloads.pieces(rows)


def write_segment(
    folder: Path, collection: int, bz: Binarizer, views: Sequence[PartView], give_way: Callable[[], None]
) -> SegmentRow | None:
    """Writes the live rows of `views` to a new file, complete and on disk when this returns; None if there are none.
    It counts only once the catalog says so. `give_way` is called between pieces of work; what it raises ends it."""
    copied = TailRows(bz)
    lengths, texts = [np.empty(0, np.int64)], []
    for view in views:
        rows = view.live_rows()
        for begin in range(0, len(rows), PIECE):
            piece = rows[begin : begin + PIECE]
            copied.append(*view.part.index.codes(view.part.index.ids[piece]))
            give_way()
        lengths.append(view.part.text_bytes(rows))
        texts.append(view.part.text_pieces(rows))
    if len(copied) == 0:
        return None
    path = folder / new_file_name(collection)
    payloads = payload_sections(np.concatenate(lengths), itertools.chain.from_iterable(texts))
    copied.freeze()._save(path, {MODEL_DIGEST: bz.digest.encode(), **payloads})
    return SegmentRow(path.name, len(copied), path.stat().st_size, contents_digest(path))
