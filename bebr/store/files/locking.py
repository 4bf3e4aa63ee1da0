"""One process per data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bebr.collection.protocol import DatabaseLocked


class DirectoryLock:
    """Holds `folder` for this process until `release`, or until the process dies: the kernel frees it then, so a crash
    leaves nothing to clean up. DatabaseLocked if somebody else holds it."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 32).decode(errors="replace").strip()
            os.close(self._file)
            raise DatabaseLocked(f"{folder} is open in process {holder or 'unknown'}: close it there first") from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._file)
