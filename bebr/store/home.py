"""Where a database is: what opening it needs, whichever place that is."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from bebr.collection.protocol import SnapshotInfo
from bebr.errors import CorruptFile, LimitExceeded
from bebr.store.backup.restoring import restore_collection
from bebr.store.backup.snapshots import create
from bebr.store.catalog.file import FileCatalog
from bebr.store.catalog.owners import Alone, Owners
from bebr.store.catalog.protocol import Catalog
from bebr.store.catalog.records import CollectionRow
from bebr.store.contents import Contents
from bebr.store.files.checked import Checked
from bebr.store.files.folder import Folder
from bebr.store.files.locking import DirectoryLock
from bebr.store.segments.models import Models
from bebr.store.segments.segment_files import LocalFiles, SegmentFiles

_log = logging.getLogger("bebr.store")


class Home(Protocol):
    """Opened by its constructor. `name`: as messages have it; `shared`: what tells a database that several processes
    have open from others, empty for one of this process alone; `path`: the folder of this process."""

    @property
    def name(self) -> str: ...

    @property
    def shared(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def catalog(self) -> Catalog: ...

    @property
    def models(self) -> Models: ...

    @property
    def files(self) -> SegmentFiles: ...

    @property
    def owners(self) -> Owners: ...

    def newer(self, row: CollectionRow) -> CollectionRow | None:
        """What the catalog says by now of a collection of which it said `row`; None where that is the same. KeyError
        where it was dropped."""

    def follow(self, opened: Callable[[], Mapping[str, Contents]], dropped: Callable[[str], None]) -> None:
        """From now on brings what other processes write into the collections that are `opened`; calls `dropped` with
        the name of one that is there no more."""

    def unfollow(self) -> None:
        """No more of that; waits for what is in progress."""

    def snapshot(self, target: str | os.PathLike[str]) -> SnapshotInfo:
        """As of `Database.snapshot`."""

    def restore_collection(
        self, source: str | os.PathLike[str], collection: str, name: str, snapshot: str | None
    ) -> SnapshotInfo:
        """As of `Database.restore_collection`."""

    def close(self) -> None: ...


class FolderHome:
    """A folder, made if absent, which this process has alone: DatabaseLocked if another one has it."""

    owners, shared = Alone(), ""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._folder = Folder(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = DirectoryLock(self.path)
        try:
            self.catalog = FileCatalog(self._folder)
            self.models = Models(self._folder, self.catalog)
            self._folder.segments.mkdir(exist_ok=True)
            self.files = LocalFiles(self._folder.segments, Checked(self._folder.checked))
            self._tidy()
        except BaseException:
            self._lock.release()
            raise

    @property
    def name(self) -> str:
        return str(self.path)

    def _tidy(self) -> None:
        """Deletes what is provably dead, and sets aside what nobody knows: a crash leaves segments that were never
        committed, but so does an older catalog."""
        for file in self._folder.temporaries():
            file.unlink(missing_ok=True)
        self._folder.drop_links()
        if not self.catalog.sound:
            return
        try:
            listed, removed = self.catalog.files(), self.catalog.removed()
            self.files.remove(removed)
            self.catalog.forget(removed)
            for name in sorted(self._folder.segment_files() - listed):
                self._folder.set_aside(self._folder.segments / name, "is listed by no collection")
            self.models.adopt()
        except (CorruptFile, LimitExceeded) as error:  # none of this is needed to serve
            _log.error("%s", error)
        self._folder.reserve.fill()

    def newer(self, row: CollectionRow) -> CollectionRow | None:
        """None: no other process writes."""
        return None

    def follow(self, opened: Callable[[], Mapping[str, Contents]], dropped: Callable[[str], None]) -> None:
        """Nothing: no other process writes."""

    def unfollow(self) -> None:
        """Nothing is followed."""

    def snapshot(self, target: str | os.PathLike[str]) -> SnapshotInfo:
        return create(self._folder, target)

    def restore_collection(
        self, source: str | os.PathLike[str], collection: str, name: str, snapshot: str | None
    ) -> SnapshotInfo:
        return restore_collection(self._folder, self.catalog, self.models, source, collection, name, snapshot)

    def close(self) -> None:
        self.catalog.close()
        self._lock.release()
