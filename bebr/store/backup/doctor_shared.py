"""`bebr doctor` of a database in PostgreSQL and an object store, which may be open: every byte is read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa

from bebr.errors import CorruptFile
from bebr.store.backup.doctor import RESTORE, Finding, of_catalog, of_models
from bebr.store.catalog.records import CollectionRow, SegmentRow
from bebr.store.catalog.shared import SharedCatalog
from bebr.store.files.folder import SEGMENT_FILE, Folder
from bebr.store.files.kept import Keeping
from bebr.store.files.object_store import SEGMENTS, ObjectStore
from bebr.store.segments.cache import CachedFiles, CachedModels
from bebr.store.segments.segment import Segment


def examine_shared(url: str, segments: str) -> list[Finding]:
    """Everything that is wrong with the database at `url`, whose segments are at `segments`; an empty list for a
    healthy one. Changes nothing, and holds nobody up.

    FileNotFoundError where there is no database; ConnectionError for what cannot be reached; ValueError where the
    object store is another database's.
    """
    store = ObjectStore(segments)
    with closing(SharedCatalog(sa.make_url(url), make=False)) as catalog, tempfile.TemporaryDirectory() as temporary:
        store.identify(catalog.database, empty=False)
        folder = Folder(Path(temporary))
        folder.segments.mkdir()
        return list(_findings(catalog, store, folder))


def _findings(catalog: SharedCatalog, store: ObjectStore, folder: Folder) -> Iterator[Finding]:
    yield from of_catalog(catalog, folder, folder)
    models = CachedModels(folder, catalog, store)
    for name in catalog.collections(hidden=True):
        with suppress(CorruptFile, KeyError):  # told; or dropped a moment ago
            row = catalog.collection(name)
            for segment in catalog.manifest(row.id).segments:
                yield from _of_segment(catalog, store, models, folder, row, segment)
    yield from of_models(catalog, models, catalog.models())
    with suppress(CorruptFile):  # told: it is not certain then which files are listed
        names = {name for name in store.names(SEGMENTS) if SEGMENT_FILE.fullmatch(name)}
        for file in sorted(names - catalog.files() - set(catalog.removed())):
            remedy = "it may be on its way in; else the next process that writes its collection deletes it"
            yield Finding(f"{store.url}/{SEGMENTS}/{file} is listed by no collection", "nothing", remedy, damage=False)


def _of_segment(
    catalog: SharedCatalog,
    store: ObjectStore,
    models: CachedModels,
    folder: Folder,
    row: CollectionRow,
    segment: SegmentRow,
) -> Iterator[Finding]:
    """One at a time is here."""
    try:
        model = models.get(segment.model or row.model)
        keeping = Keeping.of(row.settings.keep, models.get(row.model))
    except (CorruptFile, KeyError):
        return  # told of the model
    files = CachedFiles(folder.segments, store, segment.bytes)
    try:
        files.opened(segment, False, lambda path: Segment(path, segment, model, True, keeping, row.settings.text))
    except CorruptFile as error:
        if segment in catalog.manifest(row.id).segments:  # else it was merged, and deleted
            yield Finding(str(error).partition("; it costs")[0], f"collection {row.name!r}", RESTORE)
    finally:
        (folder.segments / segment.file).unlink(missing_ok=True)
