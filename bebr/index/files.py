"""Index files of every kind."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bebr import _core
from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile
from bebr.index.base import Index
from bebr.index.flat import FlatIndex
from bebr.index.graph import HNSWIndex
from bebr.index.ivf import IVFIndex
from bebr.index.raw import RawVectors

_KINDS: dict[type, type[Index]] = {
    _core.FlatIndex: FlatIndex,
    _core.IvfIndex: IVFIndex,
    _core.GraphIndex: HNSWIndex,
}


def open_index(path: str | Path, mmap: bool = True, verify: bool = False) -> Index:
    """Open a file written by ``save`` of any index; the result is of the kind that was saved.

    mmap: rows stay in the file, read on demand; header, sizes and section table are checked, contents only with
    ``verify``.
    mmap=False reads all of it, checks every byte, and allows ``add``. ``FileNotFoundError``; ``CorruptFile`` names
    path and section.
    """
    core, extra, raw = _core.open_index(str(path), mmap, verify)
    index = _KINDS[type(core)].__new__(_KINDS[type(core)])
    if "model" not in extra:
        raise CorruptFile(f"{path}: section 'model' is missing")
    bz = Binarizer.from_bytes(extra["model"], f"{path}: section 'model'")
    if tuple(core.widths) != bz.widths:
        raise CorruptFile(f"{path}: codes of widths {core.widths} beside a model of widths {list(bz.widths)}")
    if raw is not None and (not bz.has_decoder or raw.dim != bz.inner_dim):
        raise CorruptFile(f"{path}: section 'raw' has vectors of {raw.dim} dimensions beside a model of {bz.inner_dim}")
    if core.factor_bytes != bz.factor_bytes:
        raise CorruptFile(f"{path}: factors of {core.factor_bytes} bytes beside a model of {bz.factor_bytes}")
    index._binarizer, index._engine = bz, core
    index._raw = None if raw is None else RawVectors(raw, bz.metric == "l2")
    # A mapped index takes no new rows, so it need not read all ids for the next free one.
    index._next_id = 0 if mmap else core.max_id + 1
    if isinstance(index, IVFIndex):
        index._opened(extra, str(path))
    return index


_HEADER, _ENTRY = 48, 40


def contents_digest(path: str | Path) -> str:
    """16 hex digits that identify the contents of an index file, without reading them: SHA-256 of its header and its
    section table, which holds the size and the checksum of every section. ``FileNotFoundError``."""
    with Path(path).open("rb") as file:
        head = file.read(_HEADER)
        table = file.read(_ENTRY * min(int.from_bytes(head[12:16], "little"), 256))
    return hashlib.sha256(head + table).hexdigest()[:16]
