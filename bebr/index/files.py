"""Index files of every kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr import core
from bebr.binarizer import Binarizer
from bebr.device import Device
from bebr.errors import CorruptFile, IncompatibleModel
from bebr.index.base import Index
from bebr.index.device import DeviceIndex, Resident
from bebr.index.flat import FlatIndex
from bebr.index.graph import GraphIndex
from bebr.index.ivf import IVFIndex
from bebr.index.raw import RawVectors

# The section that names the model of a file which does not hold it, instead of the section "model".
MODEL_DIGEST = "model_digest"

Sections = dict[str, NDArray[np.uint8]]

_KINDS: dict[str, type[Index]] = {"flat": FlatIndex, "ivf": IVFIndex, "graph": GraphIndex}


def open_index(
    path: str | Path,
    mmap: bool = True,
    verify: bool = False,
    *,
    model: Binarizer | None = None,
    device: Device = "cpu",
    resident: Resident = None,
) -> Index:
    """Open a file that ``save`` of an index wrote; the result has the class that was saved.

    >>> index = bebr.open_index("x.bebr")

    mmap: True: rows stay in the file and are read on demand; header, sizes and section table are checked, contents only
        with ``verify``. False: the whole file is read, every byte is checked, and ``add`` is possible.
    model: the binarizer of the codes, for a file that only names it; :class:`IncompatibleModel` if it names another.
    device, resident: where searches run, as in :class:`FlatIndex`; ``ValueError`` for an index of another kind.
    Raises ``FileNotFoundError``; ``CorruptFile``, which names path and section.
    """
    index = open_sections(path, mmap, verify, model=model)[0]
    if isinstance(index, DeviceIndex):
        index.to(device, resident=resident)
    elif device != "cpu":
        raise ValueError(f"device is {device!r}: {path} is of kind {index.kind!r}, which searches on the CPU alone")
    return index


def open_sections(
    path: str | Path, mmap: bool = True, verify: bool = False, *, model: Binarizer | None = None
) -> tuple[Index, Sections]:
    """:func:`open_index`, and the sections that are not the index's own: views of the mapped file."""
    path = os.fsdecode(path)
    engine, extra, raw = core.open_index(path, mmap, verify)
    index = _KINDS[engine.kind].__new__(_KINDS[engine.kind])
    bz = _model_of(extra, path, model)
    if tuple(engine.format.widths) != bz.widths:
        raise CorruptFile(f"{path}: codes of widths {engine.format.widths} beside a model of widths {list(bz.widths)}")
    if raw is not None and (not bz.has_decoder or raw.dim != bz.inner_dim):
        raise CorruptFile(f"{path}: section 'raw' has vectors of {raw.dim} dimensions beside a model of {bz.inner_dim}")
    if engine.format.factor_bytes != bz.settings.factor_bytes:
        raise CorruptFile(
            f"{path}: factors of {engine.format.factor_bytes} bytes beside a model of {bz.settings.factor_bytes}"
        )
    index._binarizer, index._engine = bz, engine
    index._raw = None if raw is None else RawVectors(raw, bz.metric == "l2")
    # A mapped index takes no new rows, so it need not read all ids for the next free one.
    index._next_id = 0 if mmap else engine.max_id + 1
    index._file = (str(Path(path).resolve()), contents_digest(path)) if mmap and "model" in extra else None
    if isinstance(index, IVFIndex):
        index._opened(extra, path)
    return index, extra


def _model_of(sections: Sections, path: str, given: Binarizer | None) -> Binarizer:
    """The model that a file holds, or names and is ``given``."""
    if "model" in sections:
        own = Binarizer.from_bytes(sections["model"].tobytes(), f"{path}: section 'model'")
        digest = own.digest
    elif MODEL_DIGEST in sections:
        own, digest = None, sections[MODEL_DIGEST].tobytes().decode(errors="replace")
    else:
        raise CorruptFile(f"{path}: section 'model' is missing")
    if given is not None and given.digest != digest:
        raise IncompatibleModel(f"{path} was made with model {digest}: got {given.digest}")
    model = own or given
    if model is None:
        raise ValueError(f"{path} is a part of a collection and only names its model, {digest}: give it as model=")
    return model


_HEADER, _ENTRY = 48, 40


def contents_digest(path: str | Path) -> str:
    """16 hex digits that identify the contents of an index file, without reading them: SHA-256 of its header and its
    section table, which holds the size and the checksum of every section. ``FileNotFoundError``."""
    with Path(path).open("rb") as file:
        head = file.read(_HEADER)
        table = file.read(_ENTRY * min(int.from_bytes(head[12:16], "little"), 256))
    import hashlib

    return hashlib.sha256(head + table).hexdigest()[:16]


def reduced(index: Index) -> tuple[Any, ...]:
    """What pickles ``index``: the path of its file where it is mapped, else the file's bytes."""
    if index._file is not None:
        return _reopened, index._file, index._settings()
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="bebr-pickle-") as folder:
        path = Path(folder, "index.bebr")
        index.save(path)
        return _restored, (path.read_bytes(),)


def _reopened(path: str, digest: str) -> Index:
    index = open_index(path)
    if contents_digest(path) != digest:
        raise ValueError(f"{path}: holds another index than the one that was pickled")
    return index


def _restored(data: bytes) -> Index:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="bebr-pickle-") as folder:
        path = Path(folder, "index.bebr")
        path.write_bytes(data)
        return open_index(path, mmap=False)
