"""A collection out of a snapshot, brought into a database that goes on, under a name that is free."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bebr.collection.protocol import SnapshotInfo
from bebr.errors import limited
from bebr.files import sync_folder
from bebr.store.backup.snapshots import chosen, fetch
from bebr.store.catalog.file import FileCatalog
from bebr.store.files.folder import Folder
from bebr.store.segments.models import Models
from bebr.store.segments.segment import new_file_name


def restore_collection(
    folder: Folder,
    catalog: FileCatalog,
    models: Models,
    source: str | os.PathLike[str],
    collection: str,
    name: str,
    snapshot: str | None,
) -> SnapshotInfo:
    """Copies a collection of a snapshot in the place `source` to the data folder of an open catalog, under `name`:
    rows, payloads, journal and models, every byte checked. A migration by streamed vectors is left out.

    It is there as a whole or not at all; a kill on the way leaves files that the next opening sets aside. Errors as of
    `Database.restore_collection`.
    """
    place, manifest = chosen(source, snapshot)
    with TemporaryDirectory(prefix="bebr-restore-") as scratch, limited(f"{folder.path} cannot be written"):
        there = Folder(Path(scratch))
        there.models.mkdir()
        for file, entry in manifest.files.items():
            if not file.startswith("segments/"):
                fetch(place, entry, there.path / file)
        with closing(FileCatalog(there, settle=False)) as old:
            row, known = old.collection(collection), Models(there, old)
            segments = old.manifest(row.id).segments
            digests = {row.model, row.settings.target, *(segment.model for segment in segments)}
            digests |= {operation.model for operation in old.operations(row.id)}
            for digest in digests - {""}:
                models.add(known.get(digest))
            files = {segment.file: new_file_name(0) for segment in segments}
            efforts, rescored = (
                {files[file]: by_k for file, by_k in measured.items() if file in files}
                for measured in (row.settings.efforts, row.settings.rescored)
            )
            settings = replace(row.settings, successor="", cut_over=False, efforts=efforts, rescored=rescored)
            named = replace(row, name=name, settings=settings)
            try:
                for file, new in files.items():
                    fetch(place, manifest.files[f"segments/{file}"], folder.segments / new)
                sync_folder(folder.segments)
                catalog.adopt(named, old, files)
            except BaseException:
                for new in files.values():
                    (folder.segments / new).unlink(missing_ok=True)
                raise
    return manifest.info
