"""Which large files were checked to the last byte and not written since, so that a start need not read them."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

from bebr.files import write_atomically

_log = logging.getLogger("bebr.store")

# A smaller file is read in less time than one can tell, and there are few larger ones: each is at least twice the next.
LARGE = 64 << 20

Stamp = tuple[int, int, int, int]


class Checked:
    """Kept in the file `path`; without it, nothing was checked. A file that was written, or is a copy, has another
    stamp."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            found = json.loads(path.read_bytes())
            self._stamps = {str(name): tuple(int(part) for part in stamp) for name, stamp in found.items()}
        except FileNotFoundError:
            self._stamps = {}
        except (ValueError, TypeError, AttributeError) as error:
            _log.warning("%s is damaged (%s): every file is read at this start", path, error)
            self._stamps = {}

    def has(self, path: Path) -> bool:
        """Whether the file is as it was when it was checked."""
        with self._lock:
            return path.name in self._stamps and self._stamps[path.name] == _stamp(path)

    def add(self, path: Path, name: str) -> None:
        """The file at `path`, which is or will be called `name`, was checked."""
        stamp = _stamp(path)
        if stamp[1] >= LARGE:
            self._change(name, stamp)

    def drop(self, names: list[str]) -> None:
        """They are gone, or damaged."""
        for name in names:
            self._change(name, None)

    def _change(self, name: str, stamp: Stamp | None) -> None:
        with self._lock:
            if self._stamps.get(name) == stamp:
                return
            self._stamps.pop(name, None)
            if stamp is not None:
                self._stamps[name] = stamp
            try:
                write_atomically(self._path, json.dumps(self._stamps, indent=1).encode())
            except OSError as error:  # the next start reads the file
                _log.warning("%s cannot be written: %s", self._path, error)


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_dev
