"""An inverted index as sections of a segment file, read in place.

`text_fields` is JSON, the paths of the fields it is of; the others are the arrays of `TextIndex`, little-endian.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from mmap import mmap
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from bebr.arrays import Ids
from bebr.errors import CorruptFile
from bebr.index.files import Sections
from bebr.store.files.payloads import mapped
from bebr.store.text.growing import ended
from bebr.store.text.index import TextIndex
from bebr.store.text.merging import merged

_FIELDS = "text_fields"
_ARRAYS = {
    "text_word_at": "<u8",
    "text_words": "|u1",
    "text_at": "<u8",
    "text_rows": "<u4",
    "text_counts": "|u1",
    "text_lengths": "<u4",
}


@contextmanager
def text_sections(
    parts: Sequence[tuple[TextIndex, Ids]],
    fields: Sequence[str],
    folder: Path,
    pause: Callable[[], None],
    order: Ids | None = None,
) -> Iterator[dict[str, bytes | mmap]]:
    """The sections of the rows int64[n] of each part together, in an `order` as of `merged`, by way of nameless files
    of `folder`, for the length of a block; none where no fields are declared. A section that would be empty is left
    out."""
    if not fields:
        yield {}
        return
    with TemporaryFile(dir=folder) as rows, TemporaryFile(dir=folder) as counts:
        names, at, lengths = merged(parts, rows, counts, pause, order)
        word_at, words = ended(names)
        sections: dict[str, bytes | mmap] = {
            _FIELDS: json.dumps(list(fields)).encode(),
            "text_word_at": word_at.astype("<u8").tobytes(),
            "text_at": at.astype("<u8").tobytes(),
            "text_lengths": lengths.astype("<u4").tobytes(),
        }
        if names:
            sections |= {"text_words": words.tobytes(), "text_rows": mapped(rows), "text_counts": mapped(counts)}
        yield sections


def read_text(sections: Sections, fields: Sequence[str], rows: int, source: str) -> TextIndex | None:
    """Of a file's sections; None where it has none, or of other fields. CorruptFile if they do not fit `rows` or each
    other."""
    if _FIELDS not in sections:
        return None
    try:
        if json.loads(sections[_FIELDS].tobytes()) != list(fields):
            return None
        empty = np.empty(0, np.uint8)
        index = TextIndex(*(sections.get(name, empty).view(dtype) for name, dtype in _ARRAYS.items()))
        if len(index.lengths) != rows:
            raise ValueError(f"it is of {len(index.lengths)} rows, the file of {rows}")
    except (ValueError, IndexError) as error:
        raise CorruptFile(f"{source}: section {_FIELDS!r} and its arrays cannot be read: {error}") from error
    return index
