"""Snapshots of a database in another place, and their return: consistent while it is written to, incremental.

A place holds files by digest, in ``catalogs/``, ``models/`` and ``segments/``, and a manifest a snapshot in
``snapshots/``, written last. Models and segments never change: one that the place has is not copied again, and
snapshots share it. A kill leaves files that no manifest names; older snapshots stay as they are.

The catalog is copied whole, in one step of SQLite's backup: every collection at one version, journal included, with
whatever tables and columns later versions of bebr add. Which files it needs is asked of the copy.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from bebr import core
from bebr.collection.protocol import SnapshotInfo
from bebr.errors import CorruptFile, LimitExceeded, limited
from bebr.files import sync_folder
from bebr.index.files import contents_digest
from bebr.store.backup.manifests import SNAPSHOT_NAME, FileEntry, Manifest
from bebr.store.catalog.file import FileCatalog
from bebr.store.catalog.records import SegmentRow
from bebr.store.catalog.versions import Versions
from bebr.store.files.folder import Folder, Vanished
from bebr.store.files.places import Place, pieces_of, place_of

_log = logging.getLogger("bebr.store")

_MANIFESTS = "snapshots"
_ATTEMPTS = 20


def create(folder: Folder, target: str | os.PathLike[str]) -> SnapshotInfo:
    """A snapshot of a data folder that may be in use, by this process or another, in the place `target`: a path, or a
    URL that fsspec knows.

    FileNotFoundError where there is no database; CorruptFile names a damaged file, and then there is no snapshot;
    LimitExceeded where a disk is full.
    """
    if not folder.catalog.exists():
        raise FileNotFoundError(f"{folder.path} holds no database: {folder.catalog.name} is missing")
    place = place_of(target)
    for attempt in range(1, _ATTEMPTS + 1):
        with TemporaryDirectory(prefix="bebr-snapshot-") as scratch, folder.linked() as links:
            copy = Folder(Path(scratch))
            _copy_catalog(folder, copy)
            try:
                return _Copying(folder, copy, links, place).run()
            except Vanished:  # a segment was made and merged into the next one, all since `linked`
                if attempt == _ATTEMPTS:
                    raise
    raise AssertionError("the last attempt returns or raises")


def _copy_catalog(folder: Folder, copy: Folder) -> None:
    # The versions first: they tell whether the catalog, which is as new or newer then, has lost commits.
    acknowledged = Versions(folder.versions).found
    with (
        _copying(folder, copy),
        closing(sqlite3.connect(folder.catalog)) as source,
        closing(sqlite3.connect(copy.catalog)) as to,
    ):
        source.backup(to)
    if acknowledged:
        Versions(copy.versions).rewrite(list(acknowledged.values()))


@contextmanager
def _copying(folder: Folder, copy: Folder) -> Iterator[None]:
    """Errors of SQLite as those of bebr."""
    try:
        yield
    except sqlite3.Error as error:
        if "is full" in str(error):
            raise LimitExceeded(f"no space left in {copy.path} for a copy of {folder.catalog}") from error
        raise CorruptFile(f"{folder.catalog} cannot be copied: {error}; bebr doctor says what is wrong") from error


class _Copying:
    """One attempt: `copy` has the catalog, `links` the segments of `folder`."""

    def __init__(self, folder: Folder, copy: Folder, links: Path, place: Place) -> None:
        self._folder, self._copy, self._links, self._place = folder, copy, links, place
        self._there = {name: place.sizes(name) for name in ("catalogs", "models", "segments")}
        self._files: dict[str, FileEntry] = {}
        self._new: list[int] = []

    def run(self) -> SnapshotInfo:
        collections, models, segments = self._contents()
        self._shrink_catalog()
        for row in segments:
            self._folder.link(row.file, self._links)
        for row in segments:
            self._add_segment(row)
        for digest in models:
            path = self._folder.models / f"{digest}.safetensors"
            self._add(f"models/{path.name}", path, FileEntry.at("models", ".safetensors", _size(path), digest))
        for path in (self._copy.catalog, self._copy.versions):
            if path.exists():
                entry = FileEntry.at("catalogs", path.suffix, _size(path), _sha256(pieces_of(path)))
                self._add(path.name, path, entry)
        now = datetime.now(timezone.utc)
        sizes = [entry.bytes for entry in self._files.values()]
        info = SnapshotInfo(
            name=now.strftime("%Y%m%dT%H%M%S.%fZ"),
            created=now.isoformat(timespec="seconds"),
            collections=collections,
            files=len(sizes),
            bytes=sum(sizes),
            new_files=len(self._new),
            new_bytes=sum(self._new),
        )
        self._place.write(f"{_MANIFESTS}/{info.name}.json", [Manifest(info, self._files).packed()])
        return info

    def _contents(self) -> tuple[dict[str, int], list[str], list[SegmentRow]]:
        """The version of each collection, the digests of models, and the segments."""
        catalog = FileCatalog(self._copy, settle=False)
        try:
            if catalog.damage is not None:
                raise CorruptFile(str(catalog.damage).replace(str(self._copy.path), str(self._folder.path)))
            rows = {name: catalog.collection(name) for name in catalog.collections(hidden=True)}
            manifests = {name: catalog.manifest(row.id) for name, row in rows.items()}
            segments = [segment for manifest in manifests.values() for segment in manifest.segments]
            versions = {name: manifests[name].version for name in catalog.collections()}
            return versions, catalog.models(), segments
        finally:
            catalog.close()

    def _shrink_catalog(self) -> None:
        """Without the pages that seals freed, which may be many times the rest. Only now: it would hide damages."""
        with _copying(self._folder, self._copy), closing(sqlite3.connect(self._copy.catalog)) as db:
            db.execute("VACUUM")

    def _add_segment(self, row: SegmentRow) -> None:
        path = self._links / row.file
        entry = FileEntry.at("segments", ".bebr", row.bytes, row.digest)
        self._add(f"segments/{row.file}", path, entry, self._folder.segments / row.file)

    def _add(self, name: str, path: Path, entry: FileEntry, known_as: Path | None = None) -> None:
        """Copies a file, unless the place has it; it is checked on the way."""
        self._files[name] = entry
        folder, _, stored = entry.stored.partition("/")
        if self._there[folder].get(stored) == entry.bytes:
            return
        _check(path, entry, str(known_as or path))
        self._place.write(entry.stored, pieces_of(path))
        self._there[folder][stored] = entry.bytes
        self._new.append(entry.bytes)


def snapshots(source: str | os.PathLike[str]) -> list[SnapshotInfo]:
    """The snapshots in a place, the oldest first. One whose manifest is damaged is logged."""
    place = place_of(source)
    found = []
    for name in _names(place):
        try:
            found.append(_manifest(place, name).info)
        except CorruptFile as error:
            _log.error("%s", error)
    return found


def restore(
    source: str | os.PathLike[str], target: str | os.PathLike[str], *, snapshot: str | None = None
) -> SnapshotInfo:
    """Makes the data folder `target` of a snapshot in the place `source`, the newest one unless it is named.

    `target` must be empty or not be there; it is there as a whole, every byte checked, or not at all. ValueError;
    KeyError for a name that is not there; CorruptFile names a damaged file; LimitExceeded where the disk is full.
    """
    path = Path(os.path.realpath(target))  # neither "." nor a link can give way to a folder
    said = f"target is {os.fspath(target)!r}"
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{said}, which is there: want a folder that is empty, or that is not there")
    if path.is_mount():
        raise ValueError(f"{said}, where a file system is mounted, which cannot give way: want a folder in it")
    place, manifest = chosen(source, snapshot)
    temporary = path.with_name(f"{path.name}.tmp{secrets.token_hex(8)}")
    try:
        with limited(f"{path} cannot be written"):
            for folder in (temporary, temporary / "models", temporary / "segments"):
                folder.mkdir(parents=True)
            for name, entry in manifest.files.items():
                fetch(place, entry, temporary / name)
            for folder in (temporary / "models", temporary / "segments", temporary):
                sync_folder(folder)
            temporary.rename(path)  # an empty folder gives way
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest.info


def chosen(source: str | os.PathLike[str], snapshot: str | None) -> tuple[Place, Manifest]:
    """What a snapshot of a place consists of, the newest one unless it is named. KeyError for a name that is not
    there."""
    place = place_of(source)
    names = _names(place)
    if not names or (snapshot is not None and snapshot not in names):
        raise KeyError(f"no snapshot {snapshot!r} in {place}" if names else f"no snapshot in {place}")
    return place, _manifest(place, snapshot or names[-1])


def _names(place: Place) -> list[str]:
    """Sorted. What a write that was cut short leaves has a longer name."""
    names = (name.removesuffix(".json") for name in place.sizes(_MANIFESTS) if name.endswith(".json"))
    return sorted(filter(SNAPSHOT_NAME.fullmatch, names))


def _manifest(place: Place, name: str) -> Manifest:
    file = f"{_MANIFESTS}/{name}.json"
    return Manifest.parse(b"".join(place.read(file)), f"{place}/{file}")


def fetch(place: Place, entry: FileEntry, path: Path) -> None:
    """Copies a file of a snapshot and checks every byte. CorruptFile names it."""
    source = f"{place}/{entry.stored}"
    try:
        with path.open("wb") as file:
            file.writelines(place.read(entry.stored))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError as error:
        raise CorruptFile(f"{source} is missing") from error
    _check(path, entry, source)


def _check(path: Path, entry: FileEntry, source: str) -> None:
    """CorruptFile names `source`, where a file has other contents than its entry says."""
    size = _size(path)
    if size != entry.bytes:
        raise CorruptFile(f"{source} has {size} bytes, expected {entry.bytes}")
    segment = entry.stored.startswith("segments/")
    found = contents_digest(path) if segment else _sha256(pieces_of(path))[: len(entry.digest)]
    if found != entry.digest:
        raise CorruptFile(f"{source}: digest expected {entry.digest}, found {found}")
    if segment:  # its digest is that of its section table, which has a checksum of each section
        try:
            core.open_index(str(path), True, True)
        except CorruptFile as error:
            raise CorruptFile(str(error).replace(str(path), source)) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError as error:
        raise CorruptFile(f"{path} is missing") from error


def _sha256(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
