"""A database in PostgreSQL and an object store, which several processes have open, each with a cache of its own."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import sqlalchemy as sa

from bebr.collection.protocol import DatabaseLocked, SnapshotInfo
from bebr.errors import CorruptFile
from bebr.store.catalog.leases import Leases
from bebr.store.catalog.records import CollectionRow
from bebr.store.catalog.shared import LEASE_SECONDS, SharedCatalog
from bebr.store.contents import Contents
from bebr.store.files.folder import Folder
from bebr.store.files.locking import DirectoryLock
from bebr.store.files.object_store import ObjectStore
from bebr.store.following import Follower
from bebr.store.leftovers import Leftovers
from bebr.store.segments.cache import CachedFiles, CachedModels

_log = logging.getLogger("bebr.store")

CACHE_BYTES = 64 << 30
FOLLOW_SECONDS = 0.25


class SharedHome:
    """Opened as `Database` says. `cache`: a folder that no other process has at the moment; None: one in the user's
    cache folder. `lease_seconds`: how long the writer of a collection may be dead or cut off before another process may
    write it; `follow_seconds`: between two looks at what others wrote."""

    def __init__(
        self,
        url: str,
        segments: str,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
        lease_seconds: float | None = None,
        follow_seconds: float = FOLLOW_SECONDS,
    ) -> None:
        cache_bytes = CACHE_BYTES if cache_bytes is None else cache_bytes
        lease_seconds = LEASE_SECONDS if lease_seconds is None else lease_seconds
        if cache_bytes < 1:
            raise ValueError(f"cache_bytes is {cache_bytes}: want 1 or greater")
        if not 0.1 <= lease_seconds <= 3600:
            raise ValueError(f"lease_seconds is {lease_seconds}: want 0.1 to 3600")
        self._seconds, self._renewal = follow_seconds, lease_seconds / 3
        self._follower: Follower | None = None
        self._store = ObjectStore(segments)
        with contextlib.ExitStack() as failed:
            self.catalog = SharedCatalog(sa.make_url(url), lease_seconds)
            failed.callback(self.catalog.close)
            self.path, self._lock = _own_folder(cache, self.catalog.database)
            failed.callback(self._lock.release)
            folder = Folder(self.path)
            folder.segments.mkdir(exist_ok=True)
            for file in folder.temporaries():
                file.unlink(missing_ok=True)
            self.models = CachedModels(folder, self.catalog, self._store)
            self.files = CachedFiles(folder.segments, self._store, cache_bytes)
            self.owners = Leases(self.catalog)
            self._leftovers = Leftovers(self.catalog, self._store, self.files, self.owners)
            self._tidy()
            failed.pop_all()

    @property
    def name(self) -> str:
        return self.catalog.name

    @property
    def shared(self) -> str:
        return self.catalog.database

    def _tidy(self) -> None:
        """Deletes segments that were recorded as removed. What nobody lists may be on its way in: see `Leftovers`."""
        try:
            self._store.identify(self.catalog.database, empty=not (self.catalog.models() or self.catalog.files()))
            removed = self.catalog.removed()
            self.files.remove(removed)
            self.catalog.forget(removed)
        except (CorruptFile, ConnectionError) as error:  # what is here can be served
            _log.error("%s", error)

    def newer(self, row: CollectionRow) -> CollectionRow | None:
        """As of `Home`; PostgreSQL is asked."""
        self.catalog.refresh()
        found = self.catalog.collection(row.name)
        return None if found == row else found

    def follow(self, opened: Callable[[], Mapping[str, Contents]], dropped: Callable[[str], None]) -> None:
        """As of `Home`; the leases of this process are renewed from now on, and what killed writers left is deleted."""
        how = self._seconds, self._renewal, self._leftovers.tidy
        self._follower = Follower(self.catalog, opened, dropped, *how)

    def unfollow(self) -> None:
        if self._follower is not None:
            self._follower.close()

    def snapshot(self, target: str | os.PathLike[str]) -> SnapshotInfo:
        raise ValueError(
            f"{self.name} is not copied by bebr: back up PostgreSQL (pg_dump, or its archive) first, then the object "
            "store; segments never change, so files that came later do no harm"
        )

    def restore_collection(
        self, source: str | os.PathLike[str], collection: str, name: str, snapshot: str | None
    ) -> SnapshotInfo:
        raise ValueError(f"{self.name} takes no collections out of snapshots: restore a folder, and upsert its rows")

    def close(self) -> None:
        try:
            self.catalog.release()
        except (ConnectionError, DatabaseLocked) as error:
            _log.warning("leases end by themselves: %s", error)
        self.catalog.close()
        self._lock.release()


def _own_folder(cache: str | os.PathLike[str] | None, database: str) -> tuple[Path, DirectoryLock]:
    """The folder of a cache and its lock. By default the first of the user's that no process has: what the last process
    fetched is there."""
    if cache is not None:
        path = Path(cache)
        path.mkdir(parents=True, exist_ok=True)
        return path, DirectoryLock(path)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(database.encode()).hexdigest()[:16]
    for number in itertools.count():
        path = base / "bebr" / name / str(number)
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(DatabaseLocked):
            return path, DirectoryLock(path)
    raise AssertionError("numbers do not end")
