"""Registered models: one file a digest on disk, one object a digest in memory."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile, limited
from bebr.files import sync_folder, write_atomically
from bebr.store.catalog.protocol import Catalog
from bebr.store.files.folder import Folder

_log = logging.getLogger("bebr.store")

_DIGEST = re.compile("[0-9a-f]{16}")


class Models:
    """The models of a database: files that the catalog lists, checked against their digest whenever they are read. An
    object that the process has already stands for a file only once that file was read."""

    def __init__(self, folder: Folder, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        self._checked: set[str] = set()

    def path(self, digest: str) -> Path:
        return self._folder.models / f"{digest}.safetensors"

    def add(self, bz: Binarizer) -> str:
        """Stores a model, on disk when this returns; its digest. A damaged or missing file of it is written anew."""
        data = bz.to_bytes()
        if self._catalog.has_model(bz.digest) and self._intact(bz.digest):
            return bz.digest
        self._write(bz.digest, data)
        self._catalog.add_model(bz.digest)
        return bz.digest

    def _write(self, digest: str, data: bytes) -> None:
        with limited(f"no model can be written to {self._folder.models}"):
            if not self._folder.models.exists():
                self._folder.models.mkdir()
                sync_folder(self._folder.path)
            write_atomically(self.path(digest), data)

    def _intact(self, digest: str) -> bool:
        try:
            self.read(digest)
        except CorruptFile:
            return False
        return True

    def read(self, digest: str) -> Binarizer:
        """The model in the file of that digest, every byte checked. CorruptFile if it is missing or damaged."""
        model = Binarizer.from_bytes(self._data(digest), str(self.path(digest)))
        self._checked.add(digest)
        return model

    def _data(self, digest: str) -> bytes:
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise CorruptFile(f"{path} is missing: register the model again, from its file") from error
        found = hashlib.sha256(data).hexdigest()[:16]
        if found != digest:
            raise CorruptFile(
                f"{path}: digest expected {digest}, found {found}: register the model again, from its file"
            )
        return data

    def get(self, digest: str) -> Binarizer:
        """KeyError if it is not registered; CorruptFile if its file is missing or damaged."""
        known = self._catalog.has_model(digest) or (_DIGEST.fullmatch(digest) and self.path(digest).exists())
        if not known:
            raise KeyError(f"no model {digest!r}: register it first")
        held = Binarizer.held(digest) if digest in self._checked else None
        return held or self.read(digest)

    def readable(self) -> Iterator[Binarizer]:
        """Every model that can be read; one that cannot is logged."""
        for digest in self._catalog.models():
            try:
                yield self.get(digest)
            except CorruptFile as error:
                _log.error("%s", error)

    def adopt(self) -> None:
        """Lists files that the catalog does not: a model is what its digest says, whoever wrote it."""
        for digest in sorted(self._folder.model_digests() - set(self._catalog.models())):
            if self._intact(digest):
                self._catalog.add_model(digest)
