"""What the catalog says of a collection: its manifest, its segments, and the writes of its journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bebr.collection.protocol import TARGET_RECALL, IndexKind
from bebr.index.raw import RawType
from bebr.index.segments import ByK

# A write is one transaction, but no blob of it gets near SQLite's limit of 1 GB, or PostgreSQL's of half of that, since
# it sends two digits a byte: it is stored in parts of at most this many rows and bytes of vectors, and with payloads
# ends once these have this many characters (at most four bytes each).
PART_ROWS = 65_536
PART_PAYLOADS = 32 << 20
PART_VECTORS = 64 << 20


# Of the rows of a segment, by position: bit i % 64 of word i // 64, little-endian words of 64 bits. Empty: none.
Bitmap = bytes


@dataclass(frozen=True)
class Settings:
    """What a collection was made with, beside its model. `keep`: what vectors are kept as, None where codes alone
    are. `target`: the digest of the model that its rows are being re-encoded with; empty where they are not.
    `bytes_per_vector`: of its codes when it is trained anew, 0 for those of its model. `retrain`: whether it trains
    itself as rows come; `trained_rows`: how many there were the last time. `text`: the payload fields, dotted paths,
    that are searched by their words. `successor`: the name, in the catalog alone, of the collection that vectors of
    another producer are being streamed to; empty where they are not. `cut_over`: that collection rather has the old
    rows, which this one took the place of. `index`: what large segments are; `target_recall`:
    of what a scan of their codes finds; `efforts`: of each of these files, lists or candidates by k that reach it
    (`bebr.index.segments.Effort`), and `rescored`: how many of its best by code get exact scores for that."""

    keep: RawType | None = None
    target: str = ""
    bytes_per_vector: int = 0
    retrain: bool = False
    trained_rows: int = 0
    text: tuple[str, ...] = ()
    successor: str = ""
    index: IndexKind = "auto"
    target_recall: float = TARGET_RECALL
    efforts: Mapping[str, ByK] = field(default_factory=dict)
    rescored: Mapping[str, ByK] = field(default_factory=dict)
    cut_over: bool = False

    def to_json(self) -> str:
        """Those that are not the default; empty for none."""
        usual = Settings()
        changed = {f.name: now for f in fields(self) if (now := getattr(self, f.name)) != getattr(usual, f.name)}
        return json.dumps(changed, ensure_ascii=False, sort_keys=True) if changed else ""

    @staticmethod
    def of_json(text: str) -> Settings:
        """ValueError for one that this version does not know."""
        given = json.loads(text) if text else {}
        if unknown := set(given) - {f.name for f in fields(Settings)}:
            raise ValueError(f"its setting {min(unknown)!r} is of a newer version of bebr: upgrade bebr")
        measured = {
            name: {file: tuple((k, many) for k, many in by_k) for file, by_k in given.get(name, {}).items()}
            for name in ("efforts", "rescored")
        }
        return Settings(**{**given, "text": tuple(given.get("text", ())), **measured})


@dataclass(frozen=True)
class CollectionRow:
    """A collection's number, name, the digest of its model, and its settings."""

    id: int
    name: str
    model: str
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class SegmentRow:
    """A segment file (its name inside the folder of segments) as it was written: rows, bytes, `digest` of its contents
    (`contents_digest`). `dead`: its rows that were replaced or removed since, up to the last seal. `model`: the digest
    of that of its codes; empty in files of older versions: the collection's."""

    file: str
    rows: int
    bytes: int
    digest: str
    dead: Bitmap = b""
    model: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a collection consists of: `segments`, in the order they were added, and `operations` rows of journal
    (`journal_bytes` in all) with the writes after version `sealed`, the last of them being `version`."""

    version: int
    segments: tuple[SegmentRow, ...]
    operations: int
    sealed: int
    journal_bytes: int


@dataclass(frozen=True)
class Operation:
    """A write: ids int64[n]; planes uint8[n, B] and the bytes of the factors, uint8[n, F], None for a delete; payloads
    one JSON text a row, "" for none, or an empty list: none at all. `version`: the write's, once committed. `vectors`:
    uint8[n, V] as they are kept, None where they are not. `model`: as of `SegmentRow`. `keys`: of the ids that have
    some (`bebr.collection.keys`), b"" for the others, or an empty list. `bare`: which rows have no vector, bool[n], or
    None."""

    kind: Literal["upsert", "delete"]
    ids: NDArray[np.int64]
    planes: NDArray[np.uint8] | None = None
    factors: NDArray[np.uint8] | None = None
    payloads: list[str] = field(default_factory=list)
    version: int = 0
    vectors: NDArray[np.uint8] | None = None
    model: str = ""
    keys: list[bytes] = field(default_factory=list)
    bare: NDArray[np.bool_] | None = None

    def parts(self) -> Iterator[dict[str, Any]]:
        """The columns of its rows of journal."""
        width = 0 if self.vectors is None else self.vectors.shape[1]
        for rows in _pieces(len(self.ids), self.payloads, _part_rows(width)):
            yield {
                "kind": self.kind,
                "ids": self.ids[rows].astype("<i8").tobytes(),
                "planes": b"" if self.planes is None else self.planes[rows].tobytes(),
                "factors": b"" if self.factors is None else self.factors[rows].tobytes(),
                "payloads": _packed_texts(self.payloads[rows]),
                "id_keys": _packed(self.keys[rows]),
                "bare": b"" if self.bare is None else np.packbits(self.bare[rows], bitorder="little").tobytes(),
                "vectors": b"" if self.vectors is None else self.vectors[rows].tobytes(),
                "model": self.model,
            }

    @staticmethod
    def of_part(row: Any) -> Operation:
        """From a row of journal; ValueError if it is none."""
        ids = np.frombuffer(row.ids, "<i8")
        if row.kind == "delete":
            return Operation("delete", ids, version=row.version)
        if row.kind != "upsert" or len(ids) == 0:
            raise ValueError(f"a write of kind {row.kind!r} with {len(ids)} ids")
        planes, factors, vectors = (
            np.frombuffer(data, np.uint8).reshape(len(ids), -1) for data in (row.planes, row.factors, row.vectors)
        )
        texts = [text.decode() for text in _unpacked(row.payloads, len(ids))]
        kept = vectors if row.vectors else None
        keys = _unpacked(row.id_keys, len(ids))
        bits = np.frombuffer(row.bare, np.uint8)
        bare = np.unpackbits(bits, count=len(ids), bitorder="little").astype(np.bool_) if row.bare else None
        return Operation("upsert", ids, planes, factors, texts, row.version, kept, row.model, keys, bare)


def _part_rows(width: int) -> int:
    """Rows of a part whose vectors have `width` bytes each."""
    return max(1, min(PART_ROWS, PART_VECTORS // max(width, 1)))


def _pieces(rows: int, payloads: Sequence[str], most: int) -> Iterator[slice]:
    if 0 < rows <= most and sum(map(len, payloads)) < PART_PAYLOADS:  # as nearly all are: rows one by one take time
        yield slice(0, rows)
        return
    begin = size = 0
    for end in range(1, rows + 1) if payloads else range(most, rows, most):
        size += len(payloads[end - 1]) if payloads else 0
        if end - begin >= most or size >= PART_PAYLOADS:
            yield slice(begin, end)
            begin, size = end, 0
    if begin < rows:
        yield slice(begin, rows)


def _packed(data: Sequence[bytes]) -> bytes:
    """uint32[n] lengths, then the bytes of each; nothing where all are empty."""
    return _lengths(data) + b"".join(data) if any(data) else b""


def _packed_texts(texts: Sequence[str]) -> bytes:
    """The same of texts in UTF-8."""
    joined = "".join(texts)
    if joined.isascii():
        return _lengths(texts) + joined.encode() if joined else b""
    return _packed([text.encode() for text in texts])


def _lengths(each: Sequence[bytes] | Sequence[str]) -> bytes:
    return np.fromiter(map(len, each), "<u4", len(each)).tobytes()


def _unpacked(data: bytes, rows: int) -> list[bytes]:
    if not data:
        return []
    ends = 4 * rows + np.cumsum(np.frombuffer(data, "<u4", rows), dtype=np.int64)
    begins = [4 * rows, *ends[:-1].tolist()]
    return [data[begin:end] for begin, end in zip(begins, ends.tolist(), strict=True)]
