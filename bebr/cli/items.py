"""What `bebr embed` reads: lines, JSON lines, Parquet columns or a folder of pictures or clips; counted first, then
streamed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bebr.extras import needed

if TYPE_CHECKING:
    import pyarrow as pa

TEXT, IMAGE, PAIR, CLIP = "text", "image", "image+text", "clip"
Item = tuple[Any, str]  # what the producer takes, and what the output calls it


@dataclass(frozen=True)
class Source:
    """`rows` items of one kind; `read()` streams them from the start, each with its label."""

    kind: str
    rows: int
    read: Callable[[], Iterator[Item]]

    def chunks(self, size: int) -> Iterator[tuple[list[Any], list[str]]]:
        """Items and labels, `size` at a time, `rows` in all."""
        items: list[Any] = []
        labels: list[str] = []
        for done, (item, label) in enumerate(self.read(), 1):
            items.append(item)
            labels.append(label)
            if len(items) == size or done == self.rows:
                yield items, labels
                items, labels = [], []
            if done == self.rows:
                return


def open_source(
    path: Path,
    producer: str,
    allowed: Sequence[str],
    suffixes: Mapping[str, Sequence[str]],
    kind: str | None = None,
    text_column: str | None = None,
    image_column: str | None = None,
    limit: int | None = None,
) -> Source:
    """Find out what `path` holds and how many rows. `allowed`: the kinds of item that `producer` takes; `suffixes`: of
    a kind's files in a folder. ValueError where the two do not go together, naming what would; FileNotFoundError."""
    if limit is not None and limit < 1:
        raise ValueError(f"--limit: got {limit}, wanted at least 1")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if kind is not None and kind not in allowed:
        raise ValueError(f"--modality: got '{kind}', but {producer} takes {' or '.join(allowed)}")
    shape = "folder" if path.is_dir() else path.suffix
    offers = {"folder": [IMAGE, CLIP], ".txt": [TEXT], ".jsonl": [TEXT, IMAGE, PAIR], ".parquet": [TEXT, IMAGE, PAIR]}
    if shape not in offers:
        raise ValueError(
            f"{path}: got suffix '{path.suffix}', wanted .txt, .jsonl, .parquet or a folder of pictures or clips"
        )
    fitting = [one for one in offers[shape] if one in allowed and kind in (None, one)]
    if not fitting:
        held = "a folder" if shape == "folder" else f"a {shape} of text"
        ways = {TEXT: ".txt, .jsonl or .parquet", IMAGE: "a folder, .jsonl or .parquet", PAIR: ".jsonl or .parquet"}
        ways[CLIP] = "a folder"
        wanted = "; or ".join(f"{one}: {ways[one]}" for one in allowed if one in ways)
        raise ValueError(f"{path}: got {held}, but {producer} takes {kind or ' or '.join(allowed)} ({wanted})")
    if len(fitting) > 1:
        raise ValueError(f"{path}: {producer} takes {' or '.join(fitting)}: name one with --modality")
    if shape in ("folder", ".txt") and (text_column or image_column):
        raise ValueError(f"{path}: --text-column and --image-column are for .jsonl and .parquet")
    wants = _Wants(fitting[0], text_column, image_column)
    if shape == "folder":
        rows, read = _folder(path, wants, suffixes[wants.kind])
    else:
        rows, read = {".txt": _lines, ".jsonl": _json, ".parquet": _parquet}[shape](path, wants)
    if rows == 0:
        raise ValueError(f"{path}: got no row, wanted at least one")
    return Source(wants.kind, rows if limit is None else min(limit, rows), read)


@dataclass(frozen=True)
class _Wants:
    kind: str
    text_column: str | None
    image_column: str | None

    def item(self, text: str, image: Any, label: str) -> Item:
        if self.kind == TEXT:
            return text, text
        return (image, label) if self.kind == IMAGE else ((image, text), label)


_Read = tuple[int, Callable[[], Iterator[Item]]]


def _folder(path: Path, wants: _Wants, suffixes: Sequence[str]) -> _Read:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        what = "clip" if wants.kind == CLIP else "picture"
        raise ValueError(f"{path}: got no {what}, wanted files named {', '.join(suffixes)}, in the folder or below")
    return len(files), lambda: ((file, file.relative_to(path).as_posix()) for file in files)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file and their numbers from 1 on. ValueError for what is not UTF-8."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:  # as Windows writes it, perhaps
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: after line {number}: not UTF-8 text: {error}") from error


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, empty lines passed over, each with its place. ValueError for a line that is
    none."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{where}: got {type(record).__name__}, wanted an object")
        yield where, record


def count_json_lines(path: Path) -> int:
    """How many there are, not yet looked at."""
    return sum(1 for _, line in numbered_lines(path) if line.strip())


def _lines(path: Path, wants: _Wants) -> _Read:
    return sum(1 for _ in numbered_lines(path)), lambda: ((line, line) for _, line in numbered_lines(path))


def _json(path: Path, wants: _Wants) -> _Read:
    text_key, image_key = wants.text_column or "text", wants.image_column or "image"

    def read() -> Iterator[Item]:
        for where, record in json_lines(path):
            text = "" if wants.kind == IMAGE else _string(record, text_key, where)
            name = "" if wants.kind == TEXT else _string(record, image_key, where)
            yield wants.item(text, path.parent / name, name)

    return count_json_lines(path), read


def _string(record: dict[str, Any], key: str, where: str) -> str:
    if key not in record:
        raise ValueError(f"{where}: no key '{key}'; keys: {', '.join(map(str, record)) or 'none'}")
    if not isinstance(record[key], str):
        raise ValueError(f"{where}: '{key}' is {type(record[key]).__name__}, wanted a string")
    return str(record[key])


def _parquet(path: Path, wants: _Wants) -> _Read:
    with needed("parquet", "a .parquet file"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, memory_map=True)
        schema = file.schema_arrow
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path}: not a readable Parquet file: {error}") from error
    text_column = None if wants.kind == IMAGE else _column(path, schema, wants.text_column, _is_text, TEXT)
    image_column = None
    if wants.kind != TEXT:
        image_column = _column(path, schema, wants.image_column, _is_image, IMAGE)
    columns = [name for name in (text_column, image_column) if name is not None]

    def read() -> Iterator[Item]:
        row = 0
        # Pictures are whole files: few rows at a time, or a batch is a gigabyte.
        for batch in file.iter_batches(64 if image_column else 4096, columns=columns):
            for record in batch.to_pylist():
                for name in columns:
                    if record[name] is None:
                        raise ValueError(f"{path}: column '{name}' is null in row {row}")
                text = "" if text_column is None else record[text_column]
                image, label = (None, "") if image_column is None else _stored(path, record[image_column], row)
                yield wants.item(text, image, label)
                row += 1

    return file.metadata.num_rows, read


def _stored(path: Path, value: Any, row: int) -> tuple[Any, str]:
    """A picture in a cell: a path beside the file, the file's bytes, or a struct of bytes and path."""
    if isinstance(value, str):
        return path.parent / value, value
    label = f"row {row}"
    if isinstance(value, dict):
        name, value = value.get("path"), value.get("bytes")
        if value is None:
            if not name:
                raise ValueError(f"{path}: row {row}: the picture has neither bytes nor a path")
            return path.parent / name, name
        label = name or label
    from bebr.models.items import picture

    return picture(value, f"{path}: row {row}"), label


def _column(path: Path, schema: pa.Schema, named: str | None, fits: Callable[[pa.DataType], bool], what: str) -> str:
    fitting = [field.name for field in schema if fits(field.type)]
    if named is None and len(fitting) == 1:
        return str(fitting[0])
    if named in fitting and named is not None:
        return named
    held = f"columns that can hold {what}: {', '.join(fitting[:20]) or 'none'}"
    if named is None:
        raise ValueError(f"{path}: name one with --{what}-column; {held}")
    raise ValueError(f"{path}: column '{named}' {'holds no ' + what if named in schema.names else 'is absent'}; {held}")


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_image(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return {kind.field(i).name for i in range(kind.num_fields)} <= {"bytes", "path"}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or _is_text(kind))
