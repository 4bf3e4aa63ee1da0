"""What is true of the rows of a collection, in memory: read from the catalog, then kept up by the writing thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bebr.binarizer import Binarizer
from bebr.errors import CorruptFile
from bebr.index.segments import Effort
from bebr.store.catalog.records import CollectionRow, Manifest, Operation, SegmentRow
from bebr.store.files import bitmaps
from bebr.store.files.bitmaps import Bitmap
from bebr.store.files.kept import Keeping
from bebr.store.segments.segment import Segment
from bebr.store.segments.shape import Shape
from bebr.store.snapshots.draft import Draft
from bebr.store.snapshots.part import Part, PartView
from bebr.store.snapshots.snapshot import Snapshot
from bebr.store.snapshots.tail import Tail
from bebr.store.writes.change import Change, joined
from bebr.store.writes.shared import Shared


class State:
    """Of the collection that the catalog's `row` is of. Any thread may read it; what changes is changed in the writing
    thread."""

    def __init__(self, row: CollectionRow, shared: Shared, before: State | None = None) -> None:
        """`before`: what was true, whose files need not be opened again."""
        self.row, self._shared = row, shared
        self.number = row.id
        self.bz = shared.models.get(row.model)
        self.target = shared.models.get(row.settings.target) if row.settings.target else self.bz
        """What writes are coded with: another model than the collection's during a migration."""
        self.keeping = Keeping.of(row.settings.keep, self.bz)
        self.text = row.settings.text
        self.shape = Shape(row.settings.index, shared.flat_rows)
        self._load({} if before is None else before.opened)
        made_cold = row.settings.bytes_per_vector > 0 and row.settings.trained_rows == 0
        self.unscaled = made_cold and self.bz.metric != "cosine" and self.snapshot.version == 0
        """Whether its codes are still for vectors of length 1, whatever the length of those that come."""

    def _load(self, opened: Mapping[str, Segment]) -> None:
        catalog = self._shared.catalog
        opened = dict(opened)
        while True:
            before = catalog.manifest(self.number)
            try:
                views = [self._view(row, opened) for row in before.segments]
            except CorruptFile:
                if catalog.manifest(self.number).segments == before.segments:
                    raise
                continue  # another process merged files and deleted these
            # The journal is read once files are here, which may take long; by then it may follow on others.
            with catalog.contents(self.number) as (manifest, operations):
                if (manifest.sealed, manifest.segments) == (before.sealed, before.segments):
                    self._replay(manifest, views, operations)
                    return

    def _view(self, row: SegmentRow, opened: dict[str, Segment]) -> PartView:
        dead = np.frombuffer(row.dead, "<u8") if row.dead else None
        if row.file not in opened:
            opened[row.file] = self.segment(row, self.model(row.model), self._shared.verify)
        segment, by_k = opened[row.file], self.row.settings.efforts.get(row.file)
        segment.effort = None if by_k is None else Effort(by_k)
        segment.rescored = self.row.settings.rescored.get(row.file)
        return PartView(segment, dead, row.rows - bitmaps.count(dead))

    def _replay(self, manifest: Manifest, views: Sequence[PartView], operations: Iterable[Operation]) -> None:
        self.sealed = manifest.sealed
        """The last write that is in files: later ones are in the journal."""
        self.listed = manifest.segments
        """The files as they were read; not kept up by what this process does."""
        self.installed: dict[Part, Bitmap | None] = {view.part: view.dead for view in views}
        """The dead rows of segments that the catalog knows of."""
        self.tail = self.new_tail()
        self.unsealed = 0
        """Rows written or removed since the tail was last set apart for a seal."""
        first = Snapshot(manifest.sealed, tuple(views), PartView(self.tail.part(), None, 0), self.bz, self.number)
        draft = Draft(first, self.tail)
        for change, _ in joined(Change.of(operation, self.model(operation.model)) for operation in operations):
            change.apply(draft)
            self.unsealed += len(change.ids)
        self.snapshot = replace(draft.finish(), version=manifest.version)

    @property
    def opened(self) -> dict[str, Segment]:
        """Its files by name."""
        parts = (view.part for view in self.snapshot.segments)
        return {part.row.file: part for part in parts if isinstance(part, Segment)}

    def model(self, digest: str) -> Binarizer:
        """Of codes. `digest`: what the catalog says of it, empty for the collection's."""
        return self._shared.models.get(digest) if digest else self.bz

    def segment(self, row: SegmentRow, model: Binarizer, verify: bool, pending: bool = False) -> Segment:
        """A file of it. `verify`: every byte is checked: of a large file that is as it was when it last was, later."""
        files = self._shared.files
        known = files.known(row) if verify and not pending else None
        here = verify and known is None
        made = files.opened(row, pending, lambda path: Segment(path, row, model, here, self.keeping, self.text))
        if known is not None:
            self._shared.checker.request(known)
        elif verify:
            files.note_checked(row, pending)
        if self._shared.pool is not None:
            made.placed = self._shared.pool.place(made.index)
        return made

    def new_tail(self) -> Tail:
        """An empty one."""
        return Tail(self.target, self.keeping, self.text)

    def set_row(self, row: CollectionRow) -> None:
        """Gives the collection the model and the settings of `row`, in the catalog too."""
        self._shared.catalog.set_settings(row)
        self.row = row

    @property
    def migrating(self) -> bool:
        """Whether rows are being re-encoded with another model."""
        return self.row.settings.target != ""

    def newly_dead(self, snapshot: Snapshot) -> dict[Part, Bitmap]:
        """Dead rows of segment files, where the catalog does not know of all of them."""
        return {
            view.part: view.dead
            for view in snapshot.segments
            if view.part.row is not None and view.dead is not None and view.dead is not self.installed.get(view.part)
        }

    def row_with(self, views: Sequence[PartView]) -> CollectionRow | None:
        """The catalog's row with what was measured of these segments alone; None where that changes nothing."""
        files = {row.file: view.part for view in views if (row := view.part.row) is not None}
        efforts = {file: part.effort.by_k for file, part in files.items() if part.effort}
        rescored = {file: part.rescored for file, part in files.items() if part.rescored}
        settings = replace(self.row.settings, efforts=efforts, rescored=rescored)
        return None if settings == self.row.settings else replace(self.row, settings=settings)


def files_of(views: Sequence[PartView]) -> list[SegmentRow]:
    """What the catalog says of those that are in files."""
    return [row for view in views if (row := view.part.row) is not None]


def in_memory(snapshot: Snapshot) -> list[PartView]:
    """The segments that are in no file yet."""
    return [view for view in snapshot.segments if view.part.row is None]


def bitmap_bytes(bitmap: Bitmap | None) -> bytes:
    """As the catalog has it."""
    return b"" if bitmap is None else bitmap.astype("<u8").tobytes()
