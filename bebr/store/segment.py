"""The two places where rows are: immutable segment files, mapped, and the live tail in memory."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bebr import _core
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Codes
from bebr.errors import CorruptFile, IncompatibleModel
from bebr.index import FlatIndex, open_index
from bebr.index.files import contents_digest
from bebr.store.records import SegmentRow

SUFFIX = ".bebr"


def new_file_name(collection: int) -> str:
    """A name never used before, so that a file can only be what the catalog says it is."""
    return f"{collection}-{uuid.uuid4().hex}{SUFFIX}"


class Segment:
    """An immutable file of rows. Rows die (they are replaced or removed); the catalog learns which at the next seal.

    Sorted ids are kept beside the index, 8 bytes a row from the first write on: the index's own map of ids costs many
    times that, and is only built for segments that lose rows.
    """

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
        index = open_index(path, mmap=True, verify=verify)
        if not isinstance(index, FlatIndex):
            raise CorruptFile(f"{path} holds a {type(index).__name__}: a segment is a FlatIndex")
        self.index = index
        if self.index.binarizer.digest != bz.digest:
            raise IncompatibleModel(
                f"{path} was made with model {self.index.binarizer.digest}: its collection has {bz.digest}"
            )
        if len(self.index) != row.rows:
            raise CorruptFile(f"{path} has {len(self.index)} rows: the catalog says {row.rows}")
        self.path = path
        self.row = row
        self._ids: NDArray[np.int64] | None = None
        self._dead: list[NDArray[np.int64]] = []
        self.payloads: dict[int, str] = {
            int(id): text for id, text in json.loads(_core.open_index(str(path), True, False)[1]["payloads"]).items()
        }
        if row.dead:
            bits = np.unpackbits(np.frombuffer(row.dead, np.uint8), count=row.rows, bitorder="little")
            self._dead.append(self.index.codes()[1][bits > 0])
            self.index.remove(self._dead[0])
            for id in self._dead[0].tolist():
                self.payloads.pop(id, None)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def dead(self) -> bytes:
        if not self._dead:
            return b""
        bits = np.isin(open_index(self.path).codes()[1], np.concatenate(self._dead))
        packed = np.packbits(bits, bitorder="little").tobytes()
        return packed + bytes(-len(packed) % 8)

    def contains(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `ids` are live rows here, bool[n]."""
        if self._ids is None:
            live = np.sort(self.index.codes()[1])
            # Readers may do this at the same time, with the same result; _ids is set last, since it says that both are
            # there.
            self._gone = np.zeros(len(live), np.bool_)
            self._ids = live
        if len(self._ids) == 0:
            return np.zeros(len(ids), np.bool_)
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        found: NDArray[np.bool_] = (self._ids[at] == ids) & ~self._gone[at]
        return found

    def remove(self, ids: NDArray[np.int64]) -> int:
        hit = ids[self.contains(ids)]
        if len(hit) == 0:
            return 0
        assert self._ids is not None
        self._gone[np.searchsorted(self._ids, hit)] = True
        self._dead.append(hit)
        return self.index.remove(hit)


class Tail:
    """Rows written since the last seal; the catalog's operations rebuild it after a crash."""

    def __init__(self, bz: Binarizer) -> None:
        self.index = FlatIndex(bz)
        self._ids: set[int] = set()

    def __len__(self) -> int:
        return len(self.index)

    def contains(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.fromiter((i in self._ids for i in ids.tolist()), np.bool_, len(ids))

    def add(self, codes: Codes, ids: NDArray[np.int64]) -> None:
        self.index.add_codes(codes, ids)
        self._ids.update(ids.tolist())

    def remove(self, ids: NDArray[np.int64]) -> int:
        hit = ids[self.contains(ids)]
        if len(hit) == 0:
            return 0
        self._ids.difference_update(hit.tolist())
        return self.index.remove(hit)


def write_segment(folder: Path, collection: int, index: FlatIndex, payloads: Mapping[int, str]) -> SegmentRow:
    """Writes the live rows of `index` to a new file, complete and on disk when this returns (it is written aside,
    synced and renamed). It counts only once the catalog says so."""
    path = folder / new_file_name(collection)
    own = {id: payloads[id] for id in index.codes()[1].tolist() if id in payloads}
    index._save(path, {"model": index.binarizer.to_bytes(), "payloads": json.dumps(own).encode()})
    return SegmentRow(path.name, len(index), path.stat().st_size, contents_digest(path))
