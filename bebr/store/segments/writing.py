"""Makes segment files of the live rows of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from mmap import mmap
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from bebr.arrays import Ids
from bebr.errors import limited
from bebr.index.files import MODEL_DIGEST, contents_digest
from bebr.index.sizes import Kind
from bebr.store.catalog.records import SegmentRow
from bebr.store.columns.file import column_sections
from bebr.store.files import bitmaps
from bebr.store.files.payloads import KeyColumn, PayloadWriter, mapped
from bebr.store.segments.building import Coding, built
from bebr.store.segments.segment import BARE, MOVED, new_file_name, pending_path
from bebr.store.snapshots.live import LiveRows
from bebr.store.snapshots.part import PartView
from bebr.store.text.file import text_sections

_Sections = dict[str, bytes | mmap]


def write_segment(
    folder: Path,
    collection: int,
    coding: Coding,
    views: Sequence[PartView],
    kind: Kind,
    text: Sequence[str],
    pause: Callable[[], None],
) -> SegmentRow | None:
    """Writes the live rows of `views` to a new file, complete and on disk at `pending_path` when this returns; None if
    there are none. `text`: the fields whose words are indexed. `pause` is called between pieces of work; what it raises
    ends it."""
    live = LiveRows(views)
    if len(live) == 0:
        return None
    name = new_file_name(collection)
    path = pending_path(folder, name)
    with (
        limited(f"no segment can be written to {folder}"),
        built(kind, live, coding, path, pause) as build,
        _sections(folder, live, coding, build.order, text, pause) as sections,
    ):
        build.save(path, sections)
    return SegmentRow(name, len(live), path.stat().st_size, contents_digest(path), model=coding.bz.digest)


@contextmanager
def _sections(
    folder: Path, live: LiveRows, coding: Coding, order: Ids | None, text: Sequence[str], pause: Callable[[], None]
) -> Iterator[_Sections]:
    """What a segment holds beside codes, in the `order` of their index, for the length of a block."""
    sections: _Sections = {MODEL_DIGEST: coding.bz.digest.encode()}
    bare = [np.zeros(0, np.bool_)]
    with (
        PayloadWriter.beside(folder) as payloads,
        PayloadWriter.beside(folder, KeyColumn) as keys,
        TemporaryFile(dir=folder) as kept,
    ):
        for piece in live.pieces(order):
            if coding.keeping is not None:
                kept.write(np.ascontiguousarray(piece.kept()).data)
            bare.append(piece.bare())
            payloads.add(*piece.payloads())
            keys.add(*piece.keys())
            pause()
        sections |= {**payloads.sections(), **keys.sections()}
        if any(part.moved for part in live.parts):
            sections[MOVED] = b"1"
        none = np.concatenate(bare)
        if none.any():
            sections[BARE] = bitmaps.of_bools(none).astype("<u8").tobytes()
        if coding.keeping is not None:
            sections[coding.keeping.section] = mapped(kept)
        columns = live.columns(pause)
        words = live.words(pause) if text else []
        with (
            column_sections(columns if order is None else columns.arranged(order, pause), folder) as of_columns,
            text_sections(words, text, folder, pause, order) as of_words,
        ):
            yield {**sections, **of_columns, **of_words}
