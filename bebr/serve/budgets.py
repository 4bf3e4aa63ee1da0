"""What the data of a server may take: rows, collections, disk, and memory of the process. What would pass one of them
is refused before work is done; what frees space is never asked."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from bebr.errors import LimitExceeded

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")
# Seconds for which the size of the folder is known; what writes ask for meanwhile is added to it.
_KNOWN = 1.0


@dataclass(frozen=True)
class Most:
    """None: no limit. ``rows``: of all collections that are open. ``disk_bytes``: of the data folder.
    ``process_bytes``: memory that is the process's own (mapped files are not)."""

    rows: int | None = None
    collections: int | None = None
    disk_bytes: int | None = None
    process_bytes: int | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and value < 1:
                raise ValueError(f"max_{one.name} is {value}: want 1 or more, or None")
        if self.process_bytes is not None and not _STATM.exists():
            raise ValueError(f"max_process_bytes is {self.process_bytes}: want None on a system without {_STATM}")


class Budgets:
    """Belongs to one event loop. ``rows``, ``collections``: how many there are, whenever it is called."""

    def __init__(self, most: Most, folder: Path, rows: Callable[[], int], collections: Callable[[], int]) -> None:
        self.most = most
        self._folder = folder
        self._rows = rows
        self._collections = collections
        self._coming: Counter[str] = Counter()  # what calls in progress add
        self._measured, self._disk = -_KNOWN, 0

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.most != Most()

    def new_collection(self, there: int) -> AbstractContextManager[None]:
        """Counts a collection more for as long as it is being made. ``LimitExceeded`` where it is too many."""
        self.check_bytes(0, "a collection")
        return self._adding("collections", there, 1, "drop one")

    def new_rows(self, rows: int) -> AbstractContextManager[None]:
        """Counts new rows for the length of their write. ``LimitExceeded`` if there would be too many."""
        return self._adding("rows", self._rows(), rows, "delete some")

    @contextmanager
    def _adding(self, name: str, there: int, count: int, remedy: str) -> Iterator[None]:
        most = getattr(self.most, name)
        if count:
            _check(name, there + self._coming[name], count, most, remedy, "this call")
        self._coming[name] += count
        try:
            yield
        finally:
            self._coming[name] -= count

    def check_bytes(self, size: int, what: str) -> None:
        """``LimitExceeded`` where there is no disk, or no memory, for ``size`` bytes more."""
        if self.most.disk_bytes is not None:
            _check("disk_bytes", self.disk, size, self.most.disk_bytes, "delete rows or drop collections", what)
            self._disk += size
        if self.most.process_bytes is not None:
            _check("process_bytes", own_memory(), size, self.most.process_bytes, "flush, or drop collections", what)

    def rows_left(self) -> int | None:
        """How many there may be more; None: without a limit."""
        return None if self.most.rows is None else self.most.rows - self._rows() - self._coming["rows"]

    @property
    def disk(self) -> int:
        """Bytes of the data folder."""
        now = time.monotonic()
        if now >= self._measured + _KNOWN:
            self._measured, self._disk = now, folder_bytes(self._folder)
        return self._disk

    def used(self) -> dict[str, int]:
        """Of each budget that has a limit."""
        measures = {
            "rows": self._rows,
            "collections": self._collections,
            "disk_bytes": lambda: folder_bytes(self._folder),
            "process_bytes": own_memory,
        }
        return {name: measure() for name, measure in measures.items() if getattr(self.most, name) is not None}


def _check(name: str, used: int, asked: int, most: int | None, remedy: str, what: str) -> None:
    if most is not None and used + max(asked, 1) > most:
        raise LimitExceeded(
            f"{name}: {used} of the {most} that this server may hold are taken, and {what} asks for {asked} more; "
            f"{remedy}, or start the server with a larger max_{name}"
        )


def folder_bytes(folder: Path) -> int:
    """Of all files in a folder and in those inside it."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                total += folder_bytes(Path(entry.path)) if is_folder else entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue  # gone meanwhile
    return total


def own_memory() -> int:
    """Bytes of memory that are this process's alone."""
    _, resident, shared, *_ = _STATM.read_text().split()
    return (int(resident) - int(shared)) * _PAGE
