"""Segments and models of an object store, as far as this process has them in a folder of its own."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bebr import core
from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile, LimitExceeded, limited
from bebr.files import replacing, sync_folder, write_atomically
from bebr.store.catalog.protocol import Catalog
from bebr.store.catalog.records import SegmentRow
from bebr.store.files.folder import SEGMENT_FILE, Folder
from bebr.store.files.object_store import MODELS, SEGMENTS, ObjectStore
from bebr.store.files.places import pieces_of
from bebr.store.segments.models import Models
from bebr.store.segments.segment import Segment, check_file, pending_path

_log = logging.getLogger("bebr.store")


class CachedFiles:
    """Segments in a `folder` of at most `most_bytes`. One that somebody opens is fetched and checked to the last byte;
    for it, those go that were not used for longest and that no snapshot holds. Those that are written here are here
    too, whatever the bound says, until they are not held any more."""

    def __init__(self, folder: Path, store: ObjectStore, most_bytes: int) -> None:
        self.folder = folder
        self._store, self._most = store, most_bytes
        self._lock = threading.Lock()  # over the next two
        self._sizes: OrderedDict[str, int] = OrderedDict()  # of what is here; the last one was used last
        self._held: Counter[str] = Counter()  # how many open segments are of a file
        self._let_go: deque[str] = deque()  # by whatever thread collects garbage, maybe within this lock
        there = [(path.stat(), path.name) for path in folder.iterdir() if SEGMENT_FILE.fullmatch(path.name)]
        for stat, name in sorted(there, key=lambda pair: pair[0].st_mtime_ns):
            self._sizes[name] = stat.st_size

    def opened(self, row: SegmentRow, pending: bool, make: Callable[[Path], Segment]) -> Segment:
        with self._lock:
            self._held[row.file] += 1
        try:
            segment = make(pending_path(self.folder, row.file)) if pending else self._made(row, make)
        except BaseException:
            self._let_go.append(row.file)
            raise
        weakref.finalize(segment, self._let_go.append, row.file).atexit = False
        return segment

    def known(self, row: SegmentRow) -> Path | None:
        """None: a use changes when a file of a cache was written, and what is damaged is fetched anew."""
        return None

    def note_checked(self, row: SegmentRow, pending: bool) -> None:
        """Nothing."""

    def note_damaged(self, file: str) -> None:
        """Nothing."""

    def _made(self, row: SegmentRow, make: Callable[[Path], Segment]) -> Segment:
        path = self.folder / row.file
        if path.exists():
            self._used(row.file)
            try:
                return make(path)
            except CorruptFile as error:  # what the store has may be whole
                _log.warning("%s; it is fetched anew", error)
                self._drop(row.file)
        self._fetch(row, path)
        return make(path)

    def _used(self, file: str) -> None:
        with self._lock:
            if file in self._sizes:
                self._sizes.move_to_end(file)
        os.utime(self.folder / file)  # the next process that has this folder knows, too

    def _fetch(self, row: SegmentRow, path: Path) -> None:
        """CorruptFile where the store has no such file, or another one."""
        if (missing := self._make_room(row.bytes)) > 0:
            raise LimitExceeded(
                f"{self.folder} may have {self._most} bytes, and the collections that are open need {missing} more: "
                "open with a larger cache_bytes"
            )
        name = f"{SEGMENTS}/{row.file}"
        source = f"{self._store.url.rstrip('/')}/{name}"
        with limited(f"{source} cannot be kept in {self.folder}"), replacing(path) as temporary:
            try:
                with temporary.open("wb") as file:
                    file.writelines(self._store.read(name))
            except FileNotFoundError as error:
                raise CorruptFile(f"{source} is missing: the catalog lists it with {row.rows} rows") from error
            _check(temporary, row, source)
        with self._lock:
            self._sizes[row.file] = row.bytes

    def _make_room(self, wanted: int) -> int:
        """Deletes what can go until so many bytes are free; returns how many are missing then."""
        with self._lock:
            while self._let_go:
                self._held[self._let_go.popleft()] -= 1
            free = self._most - sum(self._sizes.values()) - wanted
            for file in [file for file in self._sizes if not self._held[file] > 0]:
                if free >= 0:
                    break
                free += self._sizes.pop(file)
                (self.folder / file).unlink(missing_ok=True)
        return max(0, -free)

    def _drop(self, file: str) -> None:
        with self._lock:
            self._sizes.pop(file, None)
        (self.folder / file).unlink(missing_ok=True)

    def has(self, file: str) -> bool:
        """Whether it is here, complete or on its way to the store."""
        return (self.folder / file).exists() or pending_path(self.folder, file).exists()

    def publish(self, row: SegmentRow) -> None:
        self._store.write(f"{SEGMENTS}/{row.file}", pieces_of(pending_path(self.folder, row.file)))

    def install(self, files: Sequence[str]) -> None:
        for file in files:
            path = self.folder / file
            pending_path(self.folder, file).rename(path)
            with self._lock:
                self._sizes[file] = path.stat().st_size
        self._make_room(0)
        sync_folder(self.folder)

    def remove(self, files: Sequence[str]) -> None:
        """As of `SegmentFiles`. What cannot be reached now is deleted by the next opening."""
        for file in files:
            self._drop(file)
        try:
            for file in files:
                self._store.remove(f"{SEGMENTS}/{file}")
        except ConnectionError as error:
            _log.warning("segments that are no longer used stay for now: %s", error)

    def discard(self, file: str) -> None:
        pending_path(self.folder, file).unlink(missing_ok=True)
        self.remove([file])


def _check(path: Path, row: SegmentRow, source: str) -> None:
    """CorruptFile names `source` where a file is not what the catalog says, to the last byte."""
    check_file(path, row, source)
    try:
        core.open_index(str(path), True, True)
    except CorruptFile as error:
        raise CorruptFile(str(error).replace(str(path), source)) from error


class CachedModels(Models):
    """Models of an object store, which are small: what was read once stays."""

    def __init__(self, folder: Folder, catalog: Catalog, store: ObjectStore) -> None:
        super().__init__(folder, catalog)
        self._store = store

    def _name(self, digest: str) -> str:
        return f"{MODELS}/{self.path(digest).name}"

    def _write(self, digest: str, data: bytes) -> None:
        super()._write(digest, data)
        self._store.write(self._name(digest), [data])

    def read(self, digest: str) -> Binarizer:
        """As of `Models`: from the store, where it is not here or damaged here."""
        try:
            return super().read(digest)
        except CorruptFile:
            try:
                data = b"".join(self._pieces(digest))
            except FileNotFoundError as error:
                name = f"{self._store.url.rstrip('/')}/{self._name(digest)}"
                raise CorruptFile(f"{name} is missing: register the model again, from its file") from error
        self._folder.models.mkdir(exist_ok=True)
        write_atomically(self.path(digest), data)
        return super().read(digest)

    def _pieces(self, digest: str) -> Iterator[bytes]:
        return self._store.read(self._name(digest))
