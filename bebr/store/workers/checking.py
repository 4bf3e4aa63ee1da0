"""Large files that were not read when they were opened are read later, beside searches."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from bebr import core
from bebr.errors import CorruptFile

_log = logging.getLogger("bebr.store")

# Bytes at a time, and a second: a disk has far more to give, and 18 GB take five minutes of 3 % of a processor.
_PIECE, RATE = 4 << 20, 64 << 20


class Checker:
    """Of a database. `damaged` gets a file's name and what is wrong with it. Its thread is there while there is work,
    and ends with the program, which need not close the database."""

    def __init__(self, damaged: Callable[[str, CorruptFile], None]) -> None:
        self._damaged = damaged
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # over the rest
        self._waiting: deque[Path] = deque()
        self._thread: threading.Thread | None = None

    def request(self, path: Path) -> None:
        """Has every byte of a file compared with its checksums."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._waiting.append(path)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bebr-check")
                self._thread.start()

    def close(self) -> None:
        """Ends the check in progress."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        core.enter_background()
        while True:
            with self._lock:
                if self._stopping.is_set() or not self._waiting:
                    self._thread = None
                    return
                path = self._waiting.popleft()
            self._check(path)

    def _check(self, path: Path) -> None:
        try:
            check = core.FileCheck(str(path))
            while check.step(_PIECE):
                if self._stopping.wait(_PIECE / RATE) or not threading.main_thread().is_alive():
                    self._stopping.set()
                    return
            _log.info("%s is as it was written", path)
        except FileNotFoundError:
            pass  # it was merged into another
        except CorruptFile as error:
            self._damaged(path.name, error)
        except OSError as error:
            _log.error("%s cannot be checked: %s", path, error)
