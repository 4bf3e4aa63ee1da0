"""Indexes as files and as bytes: bebr's own format, which `bebr.open_index` reads, too."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from bebr.faiss.index import Index
from bebr.faiss.kinds import IndexBEBR, IndexFlat, IndexHNSW, IndexIVF
from bebr.index import FlatIndex, IVFIndex, open_index

IO_FLAG_MMAP = 2
"""`read_index` maps the file; rows can be removed then, but not added."""


def write_index(index: Index, fname: str | Path) -> None:
    """Writes a trained index to one checksummed file; an old one stays until the new one is whole."""
    index._trained("saved").save(fname)


def read_index(fname: str | Path, io_flags: int = 0) -> Index:
    """What :func:`write_index`, or an index of bebr, wrote. ``FileNotFoundError``; ``CorruptFile`` for another file,
    FAISS's own among them."""
    if io_flags not in (0, IO_FLAG_MMAP):
        raise ValueError(f"io_flags is {io_flags!r}: want 0 or IO_FLAG_MMAP")
    rows = open_index(fname, mmap=io_flags == IO_FLAG_MMAP)
    if isinstance(rows, FlatIndex):
        return (IndexFlat if rows.raw_type == "float16" else IndexBEBR)._of(rows)
    return (IndexIVF if isinstance(rows, IVFIndex) else IndexHNSW)._of(rows)


def serialize_index(index: Index) -> NDArray[np.uint8]:
    """The bytes of the file."""
    with TemporaryDirectory(prefix="bebr-faiss-") as folder:
        path = Path(folder, "index.bebr")
        write_index(index, path)
        return np.frombuffer(path.read_bytes(), np.uint8).copy()


def deserialize_index(data: NDArray[np.uint8]) -> Index:
    """The inverse of :func:`serialize_index`."""
    with TemporaryDirectory(prefix="bebr-faiss-") as folder:
        path = Path(folder, "index.bebr")
        path.write_bytes(np.asarray(data, np.uint8).tobytes())
        return read_index(path)
