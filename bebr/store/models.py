"""Registered models: one file a digest on disk, checked against its digest whenever it is read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile
from bebr.files import write_atomically
from bebr.store.catalog import Catalog

SUFFIX = ".safetensors"


class Models:
    """The models of a database, files in `folder` that the catalog lists."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog

    def add(self, bz: Binarizer) -> str:
        """Stores a model, on disk when this returns; its digest."""
        path = self._folder / f"{bz.digest}{SUFFIX}"
        if bz.digest not in self._catalog.models() or not path.exists():
            self._folder.mkdir(exist_ok=True)
            write_atomically(path, bz.to_bytes())
            self._catalog.add_model(bz.digest)
        return bz.digest

    def get(self, digest: str) -> Binarizer:
        """KeyError if it is not registered; CorruptFile if its file is missing or damaged."""
        if digest not in self._catalog.models():
            raise KeyError(f"no model {digest!r}: register it first")
        if (held := Binarizer.held(digest)) is not None:
            return held
        path = self._folder / f"{digest}{SUFFIX}"
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise CorruptFile(f"{path} is missing: register the model again, from its file") from error
        found = hashlib.sha256(data).hexdigest()[:16]
        if found != digest:
            raise CorruptFile(f"{path} has digest {found}: want {digest}; register the model again, from its file")
        return Binarizer.from_bytes(data, str(path))

    def digests(self) -> list[str]:
        return self._catalog.models()
