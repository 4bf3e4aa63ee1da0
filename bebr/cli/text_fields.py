"""What `bebr tag` reads: one text an item, or several columns of it, each a text field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bebr.cli.items import TEXT, Source, open_source

TextFields = dict[str, str]


@dataclass(frozen=True)
class TextFieldSource:
    """`rows` items; `fields` name their text fields."""

    fields: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def rows(self) -> int:
        return self.sources[0].rows

    def chunks(self, size: int) -> Iterator[tuple[list[TextFields], list[str]]]:
        """Text fields and the first text field of each, `size` at a time, from the start."""
        for parts in zip(*(source.chunks(size) for source in self.sources), strict=True):
            columns = [texts for texts, _ in parts]
            yield [dict(zip(self.fields, row, strict=True)) for row in zip(*columns, strict=True)], list(columns[0])


def open_text_fields(path: Path, producer: str, fields: Sequence[str], limit: int | None) -> TextFieldSource:
    """Open one source of text for each field; none named: the one that `bebr embed` would read.

    ValueError naming the field that is not there, is no text, or is named twice; FileNotFoundError.
    """
    if len(set(fields)) != len(fields):
        raise ValueError(f"--field: got {', '.join(fields)}, wanted each once")
    named: list[str | None] = list(fields) or [None]
    # Each reads the file for itself: a row is never held longer than it is looked at.
    sources = [open_source(path, producer, (TEXT,), {}, TEXT, column, None, limit) for column in named]
    return TextFieldSource(tuple(fields) or ("text",), tuple(sources))
