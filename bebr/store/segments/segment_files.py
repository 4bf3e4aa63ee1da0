"""Where the segment files of a database are: in its folder, or in an object store with a cache (`cache`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from bebr.files import sync_folder
from bebr.store.catalog.records import SegmentRow
from bebr.store.files.checked import LARGE, Checked
from bebr.store.segments.segment import Segment, pending_path


class SegmentFiles(Protocol):
    """New ones are written to `folder` under a pending name, then published, then installed; only then does the catalog
    list them."""

    @property
    def folder(self) -> Path: ...

    def opened(self, row: SegmentRow, pending: bool, make: Callable[[Path], Segment]) -> Segment:
        """What `make` returns for the path of a file, which stays there as long as that lives. CorruptFile where the
        file is missing or not what `row` says."""

    def known(self, row: SegmentRow) -> Path | None:
        """Where a large file is that was checked to the last byte and not written since; None for any other."""

    def note_checked(self, row: SegmentRow, pending: bool) -> None:
        """Every byte of it was."""

    def note_damaged(self, file: str) -> None:
        """It is not what was checked any more."""

    def publish(self, row: SegmentRow) -> None:
        """Puts a pending file, which is complete, where whoever opens the database finds it."""

    def install(self, files: Sequence[str]) -> None:
        """Gives pending files their names, for good."""

    def remove(self, files: Sequence[str]) -> None:
        """Deletes files that the catalog lists no more."""

    def discard(self, file: str) -> None:
        """Deletes whatever there is of a file that the catalog never listed."""


class LocalFiles:
    """In the folder of a database that one process has open."""

    def __init__(self, folder: Path, checked: Checked) -> None:
        self.folder, self._checked = folder, checked

    def _path(self, file: str, pending: bool) -> Path:
        return pending_path(self.folder, file) if pending else self.folder / file

    def opened(self, row: SegmentRow, pending: bool, make: Callable[[Path], Segment]) -> Segment:
        return make(self._path(row.file, pending))

    def known(self, row: SegmentRow) -> Path | None:
        path = self.folder / row.file
        return path if row.bytes >= LARGE and path.exists() and self._checked.has(path) else None

    def note_checked(self, row: SegmentRow, pending: bool) -> None:
        if row.bytes >= LARGE:
            self._checked.add(self._path(row.file, pending), row.file)

    def note_damaged(self, file: str) -> None:
        self._checked.drop([file])

    def publish(self, row: SegmentRow) -> None:
        """Nothing: it is in the place where it stays."""

    def install(self, files: Sequence[str]) -> None:
        for file in files:
            pending_path(self.folder, file).rename(self.folder / file)
        sync_folder(self.folder)

    def remove(self, files: Sequence[str]) -> None:
        for file in files:
            (self.folder / file).unlink(missing_ok=True)
        self._checked.drop(list(files))

    def discard(self, file: str) -> None:
        for path in (self.folder / file, pending_path(self.folder, file)):
            path.unlink(missing_ok=True)
