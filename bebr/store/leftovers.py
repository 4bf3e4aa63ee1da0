"""Segments in an object store that no collection lists: a writer was killed between their upload and its commit."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection

from bebr.errors import CorruptFile
from bebr.store.catalog.leases import Leases
from bebr.store.catalog.shared import SharedCatalog
from bebr.store.files.object_store import SEGMENTS, ObjectStore
from bebr.store.segments.cache import CachedFiles

_log = logging.getLogger("bebr.store")

# A segment, or what there was of it when its upload was cut short.
_FILE = re.compile(r"(?P<file>(?P<number>\d+)-[0-9a-f]{32}\.bebr)(\.tmp\w+)?")


class Leftovers:
    """Deletes those of collections whose lease this process has taken, and of collections that are gone.

    No clock decides. A file's name has its collection's number, and only the holder of its lease can make the catalog
    list it. Once this process has the lease, no earlier holder can; a later one uploads files of other names, and what
    it was uploading when it lost its lease it makes anew (`SharedCatalog.take`). Its own files are in its cache while
    they are on their way.
    """

    def __init__(self, catalog: SharedCatalog, store: ObjectStore, files: CachedFiles, leases: Leases) -> None:
        self._catalog, self._store, self._files, self._leases = catalog, store, files, leases

    def tidy(self) -> None:
        """For the leases that were taken since the last time."""
        taken = len(self._leases.taken)
        if not taken:
            return
        numbers = self._leases.taken[:taken]
        del self._leases.taken[:taken]
        try:
            gone = self.remove(numbers)
        except (ConnectionError, CorruptFile) as error:
            _log.warning("files that a killed writer may have left stay for now: %s", error)
        else:
            if gone:
                _log.warning("%d files that no collection lists were deleted, the first %s", len(gone), gone[0])

    def remove(self, numbers: Collection[int]) -> list[str]:
        """Deletes what there is of the collections of these `numbers`; the names, sorted."""
        found = {name: match for name in self._store.names(SEGMENTS) if (match := _FILE.fullmatch(name))}
        self._catalog.renew()  # after the files were listed: the lease held while they were
        self._catalog.refresh()
        there = self._catalog.numbers()
        ours = {number for number in numbers if self._catalog.holds(number)}
        listed = self._catalog.files() | set(self._catalog.removed())
        gone = []
        for name, match in sorted(found.items()):
            number, file = int(match["number"]), match["file"]
            if (number in ours or number not in there) and file not in listed and not self._files.has(file):
                self._store.remove(f"{SEGMENTS}/{name}")
                gone.append(name)
        return gone
