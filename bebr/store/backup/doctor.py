"""`bebr doctor`: reads every byte of a data folder and says what is wrong, what it costs, and what to do."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bebr.collection.protocol import DatabaseLocked
from bebr.errors import CorruptFile, Error
from bebr.store.catalog.by_sql import SqlCatalog
from bebr.store.catalog.file import FileCatalog
from bebr.store.catalog.log import damaged_frame
from bebr.store.catalog.records import CollectionRow, SegmentRow
from bebr.store.files.folder import Folder
from bebr.store.files.kept import Keeping
from bebr.store.segments.models import Models
from bebr.store.segments.segment import Segment

RESTORE = "restore this file from a backup, or drop the collection and write it anew"


@dataclass(frozen=True)
class Finding:
    """What is wrong: the `problem` names file, row and checksums, where there are some. `costs`: "collection 'docs'",
    "every collection" or "nothing". `remedy`: what to do. `damage`: False for what a crash leaves and needs no care."""

    problem: str
    costs: str
    remedy: str
    damage: bool = True


def examine(path: str | Path) -> list[Finding]:
    """Everything that is wrong with the data folder `path`; an empty list for a healthy one. Changes nothing: the
    catalog is read in a copy, in the system's folder for temporary files.

    FileNotFoundError if it is no data folder, DatabaseLocked while it is open.
    """
    folder = Folder(Path(path))
    described = [folder.catalog, folder.versions, folder.segments, folder.models]
    if not any(file.exists() for file in described):
        raise FileNotFoundError(f"{path} is no data folder: it holds no catalog.db")
    with _locked(folder), tempfile.TemporaryDirectory() as temporary:
        return list(_findings(folder, Folder(Path(temporary))))


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    lock = folder.path / "lock"
    if not lock.exists():
        yield
        return
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DatabaseLocked(f"{folder.path} is open: stop its server, or examine a copy") from error
        yield


def _findings(folder: Folder, copy: Folder) -> Iterator[Finding]:
    log = folder.catalog.with_name(f"{folder.catalog.name}-wal")
    for file in (folder.catalog, log, folder.versions):
        if file.exists():
            shutil.copyfile(file, copy.path / file.name)
    try:
        folder.check_catalog()
        catalog = FileCatalog(copy, settle=False)
    except CorruptFile as error:
        yield _of(error, "every collection", folder, copy)
        return
    try:
        lost = list(of_catalog(catalog, folder, copy))
        yield from lost
        frame = damaged_frame(log) if lost else None
        if frame is not None:
            yield Finding(f"{log}: {frame}", "nothing more: it explains lost commits", "restore it from a backup")
        for name in catalog.collections(hidden=True):
            yield from _of_collection(catalog, name, folder)
        yield from of_models(catalog, Models(folder, catalog), folder.model_digests())
        if catalog.sound:
            yield from _of_leftovers(catalog, folder)
    finally:
        catalog.close()


def _of(error: Error, costs: str, folder: Folder, copy: Folder) -> Finding:
    """From an error's message: the problem, then what it costs and what to do."""
    problem, _, rest = str(error).replace(str(copy.path), str(folder.path)).partition("; ")
    return Finding(problem, costs, rest.rpartition(": ")[2] or RESTORE)


def of_catalog(catalog: SqlCatalog, folder: Folder, copy: Folder) -> Iterator[Finding]:
    """What is wrong with the rows of a catalog. `copy`: the folder that errors name in place of `folder`."""
    names = {catalog.number(name): name for name in catalog.collections(hidden=True)}
    told = set()
    if catalog.damage is not None:
        finding = _of(catalog.damage, "every write, and the collections below", folder, copy)
        yield replace(finding, remedy="restore catalog.db from a backup")
    for notice in catalog.notices:
        yield _of(CorruptFile(notice), "nothing", folder, copy)
    for number, error in catalog.damaged_rows():
        costs = f"collection {names[number]!r}" if number in names else "nothing"
        told.add(number)
        yield _of(error, costs, folder, copy)
    for name in catalog.collections(hidden=True):
        try:
            number = catalog.collection(name).id
            catalog.manifest(number)
            for _ in catalog.operations(number):
                pass
        except CorruptFile as error:
            if "checksum" not in str(error) or catalog.number(name) not in told:
                yield _of(error, f"collection {name!r}", folder, copy)


def _of_collection(catalog: FileCatalog, name: str, folder: Folder) -> Iterator[Finding]:
    try:
        row = catalog.collection(name)
        segments = catalog.manifest(row.id).segments
    except CorruptFile:
        return  # told
    for segment in segments:
        yield from _of_segment(catalog, row, segment, folder)


def _of_segment(catalog: FileCatalog, row: CollectionRow, segment: SegmentRow, folder: Folder) -> Iterator[Finding]:
    try:
        models = Models(folder, catalog)
        keeping = Keeping.of(row.settings.keep, models.get(row.model))
        model, text = models.get(segment.model or row.model), row.settings.text
        Segment(folder.segments / segment.file, segment, model, True, keeping, text)
    except Error as error:
        aside = sorted(folder.quarantine.glob(f"{segment.file}.*"))
        remedy = f"move {aside[0]} back to {folder.segments / segment.file}" if aside else RESTORE
        if segment.file in str(error):  # else it is the model's, which is told apart
            yield Finding(str(error), f"collection {row.name!r}", remedy)


_MODEL_AGAIN = (
    "register the model again, from its file; that of a collection made with dim= and not trained yet is "
    "bebr.untrained(dim, bytes_per_vector, metric=…), if its vectors are about of length 1"
)


def of_models(catalog: SqlCatalog, models: Models, there: Iterable[str]) -> Iterator[Finding]:
    """What is wrong with models that collections have, or the catalog lists, or that are `there`."""
    users: dict[str, list[str]] = {}
    for name in catalog.collections(hidden=True):
        try:
            users.setdefault(catalog.collection(name).model, []).append(repr(name))
        except CorruptFile:
            continue
    for digest in sorted({*users, *catalog.models(), *there}):
        costs = f"collection {', '.join(users[digest])}" if digest in users else "nothing"
        try:
            models.read(digest)
        except Error as error:
            yield Finding(str(error).partition(": register")[0], costs, _MODEL_AGAIN)


def _of_leftovers(catalog: FileCatalog, folder: Folder) -> Iterator[Finding]:
    for file in folder.temporaries():
        yield Finding(f"{file} was being written when its process died", "nothing", "opening deletes it", damage=False)
    for file in sorted(folder.quarantine.iterdir()) if folder.quarantine.is_dir() else ():
        remedy = "delete it once every collection is healthy"
        yield Finding(f"{file} was set aside by an opening", "nothing", remedy, damage=False)
    with suppress(CorruptFile):  # told: it is not certain then which files are listed
        for name in sorted(folder.segment_files() - catalog.files() - set(catalog.removed())):
            file = folder.segments / name
            yield Finding(
                f"{file} is listed by no collection", "nothing", "opening moves it to quarantine/", damage=False
            )
