"""`bebr.open`: a data directory with a catalog, segment files and a lock."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import bebr
from bebr.binarizer import Binarizer
from bebr.collection.checks import check_name
from bebr.collection.protocol import ModelInfo
from bebr.store.catalog import Catalog
from bebr.store.collection import SEAL_ROWS, Collection
from bebr.store.locking import DirectoryLock
from bebr.store.models import Models
from bebr.store.segment import SUFFIX


class Database:
    """Collections in the folder `path`, made if absent: `catalog.db` (SQLite), `models/`, `segments/` and `lock`.

    One process at a time: a second opener gets DatabaseLocked. A collection is read when first asked for; a corrupt one
    raises CorruptFile then, and leaves the others alone. Safe to use from many threads.

    `seal_rows`: rows written since the last seal that make a write seal them into a segment file. `verify`: check every
    byte of a segment against its checksum when its collection is read (False: sizes and structure only).
    """

    def __init__(self, path: str | os.PathLike[str], *, seal_rows: int = SEAL_ROWS, verify: bool = True) -> None:
        if seal_rows < 1:
            raise ValueError(f"seal_rows is {seal_rows}: want 1 or greater")
        self.path = Path(path)
        self._seal_rows = seal_rows
        self._verify = verify
        self._collections: dict[str, Collection] = {}
        self._guard = threading.RLock()  # over _collections
        self._open = False
        self._folder = self.path / "segments"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._dirlock = DirectoryLock(self.path)
        try:
            self._catalog = Catalog(self.path / "catalog.db")
            self._models = Models(self.path / "models", self._catalog)
            self._remove_leftovers()
        except BaseException:
            self._dirlock.release()
            raise
        self._open = True

    def _remove_leftovers(self) -> None:
        """Deletes what a crash left between writing a segment and committing it (or between the commit of a merge and
        the deletion of the merged files)."""
        known = self._catalog.files()
        for file in self._folder.iterdir():
            _name, dot, _rest = file.name.partition(SUFFIX)
            if dot and file.name not in known:
                file.unlink()

    def create_collection(self, name: str, bz: Binarizer) -> Collection:
        """A new, empty collection whose rows are coded by `bz`, which is registered on the way. ValueError for a bad
        name, AlreadyExists (a ValueError) for one that is taken."""
        check_name(name)
        with self._guard:
            digest = self.register_model(bz)
            self._catalog.create_collection(name, digest)
            return self.collection(name)

    def collection(self, name: str) -> Collection:
        """The collection `name`. KeyError if there is none; CorruptFile if a file of it is damaged."""
        with self._guard:
            self._check_open()
            found = self._collections.get(name)
            if found is None:
                row = self._catalog.collection(name)
                bz = self.model(row.model)
                found = Collection(self._catalog, self._folder, row, bz, self._seal_rows, self._verify)
                self._collections[name] = found
            return found

    def collections(self) -> list[str]:
        """The names of all collections, sorted, corrupt ones included."""
        self._check_open()
        return self._catalog.collections()

    def drop_collection(self, name: str) -> None:
        """Deletes a collection with its rows, payloads and files, corrupt or not. KeyError if there is none."""
        with self._guard:
            self._check_open()
            if name in self._collections:
                self._collections.pop(name).close(KeyError(f"no collection {name!r}: it was dropped"))
            files = self._catalog.drop_collection(name)
        for file in files:
            (self._folder / file).unlink(missing_ok=True)

    def register_model(self, bz: Binarizer) -> str:
        """Stores a binarizer; returns its digest. Repeating it is harmless."""
        self._check_open()
        return self._models.add(bz)

    def model(self, digest: str) -> Binarizer:
        """The registered binarizer with this digest. KeyError if there is none."""
        self._check_open()
        return self._models.get(digest)

    def models(self) -> list[ModelInfo]:
        """Every registered binarizer, ordered by digest."""
        self._check_open()
        return [ModelInfo.of(self.model(digest)) for digest in self._models.digests()]

    def info(self) -> dict[str, Any]:
        """`bebr.info()` of this process and the path of the data."""
        return {**bebr.info(), "path": str(self.path)}

    def close(self) -> None:
        """Waits for writes in progress and frees the folder for another process. Nothing needs saving. Repeating it is
        harmless."""
        with self._guard:
            if not self._open:
                return
            self._open = False
            for collection in self._collections.values():
                collection.close(self._closed_error())
            self._collections.clear()
            self._catalog.close()
            self._dirlock.release()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Database({str(self.path)!r})"

    def _closed_error(self) -> ValueError:
        return ValueError(f"the database {self.path} is closed: open it again")

    def _check_open(self) -> None:
        if not self._open:
            raise self._closed_error()
