"""One process per data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bebr.collection.protocol import DatabaseLocked
from bebr.store.files.opener import Opener

_held: dict[int, tuple[int, int]] = {}  # file descriptors, and the device and the inode of each


def _let_go() -> None:
    """In a fork: it would hold the locks of its parent for as long as it lives."""
    for file in _held:
        os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


class DirectoryLock:
    """Holds `folder` for this process until `release`, or until the process dies: the kernel frees it then, so a crash
    leaves nothing to clean up, and its forks do not hold it. DatabaseLocked if somebody else holds it."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 32).decode(errors="replace").strip() or "unknown"
            if _identity(self._file) in _held.values():  # equal numbers may be of two containers
                holder += ", which is this one"
            os.close(self._file)
            raise DatabaseLocked(f"{folder} is open in process {holder}: close it there first") from error
        self._opener = Opener()
        _held[self._file] = _identity(self._file)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._opener.here:  # in a fork the number is perhaps that of another file by now
            fcntl.flock(self._file, fcntl.LOCK_UN)  # a fork may be about to let go
            del _held[self._file]
            os.close(self._file)


def _identity(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino
