"""Large files that were not read when they were opened are read later, beside searches."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bebr import core
from bebr.errors import CorruptFile

_log = logging.getLogger("bebr.store")

# Bytes at a time, and a second: a disk has far more to give, and 18 GB take five minutes of 3 % of a processor.
_PIECE, RATE = 4 << 20, 64 << 20


class Checker:
    """A thread of a database. `damaged` gets a file's name and what is wrong with it."""

    def __init__(self, damaged: Callable[[str, CorruptFile], None]) -> None:
        self._damaged = damaged
        self._thread = ThreadPoolExecutor(1, "bebr-check", core.enter_background)
        self._stopping = threading.Event()

    def request(self, path: Path) -> None:
        """Has every byte of a file compared with its checksums."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self._thread.submit(self._check, path)

    def close(self) -> None:
        """Ends the check in progress."""
        self._stopping.set()
        self._thread.shutdown(cancel_futures=True)

    def _check(self, path: Path) -> None:
        try:
            check = core.FileCheck(str(path))
            while check.step(_PIECE):
                if self._stopping.wait(_PIECE / RATE):
                    return
            _log.info("%s is as it was written", path)
        except FileNotFoundError:
            pass  # it was merged into another
        except CorruptFile as error:
            self._damaged(path.name, error)
        except OSError as error:
            _log.error("%s cannot be checked: %s", path, error)
