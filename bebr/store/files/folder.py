"""The files of a database, and what opening may do to them: nothing is deleted that is not provably ours and dead."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bebr.errors import CorruptFile

_log = logging.getLogger("bebr.store")

MODEL_FILE = re.compile(r"([0-9a-f]{16})\.safetensors")
SEGMENT_FILE = re.compile(r"\d+-[0-9a-f]{32}\.bebr")
# What a write that was cut short leaves beside its file: the folder is ours alone, so nobody is at work on it.
_TEMPORARY = re.compile(rf"(?:{MODEL_FILE.pattern}|{SEGMENT_FILE.pattern}|catalog\.versions)\.tmp[\w.]+")

# A folder of links to segments, while they are copied elsewhere.
_LINKS = "links.tmp"

# A delete of 100,000 ids takes 0.8 MB of log; dropping a collection less.
RESERVE_BYTES = 1 << 20
_STEP = 1 << 20


class Vanished(CorruptFile):
    """A segment file is not there. It may have been merged into another a moment ago."""


class Folder:
    """The layout: catalog.db (SQLite), catalog.versions, models/, segments/, checked.json, reserve, lock,
    quarantine/."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.catalog = path / "catalog.db"
        self.versions = path / "catalog.versions"
        self.models = path / "models"
        self.segments = path / "segments"
        self.checked = path / "checked.json"
        self.quarantine = path / "quarantine"
        self.reserve = Reserve(path / "reserve")

    def check_catalog(self) -> None:
        """CorruptFile where the catalog is missing or empty, but what it described is there. Touches nothing."""
        if not self.catalog.exists():
            self.check_unused("is missing")
        elif self.catalog.stat().st_size == 0:
            self.check_unused("is empty")

    def check_unused(self, state: str) -> None:
        """CorruptFile where there is anything that a catalog described. `state`: of the catalog."""
        described = (self.versions, *self._files(self.models), *self._files(self.segments))
        found = next((file for file in described if file.exists() and file.stat().st_size > 0), None)
        if found is not None:
            raise CorruptFile(
                f"{self.catalog} {state}, but {found.relative_to(self.path)} is there: without its catalog no "
                "collection can be read; restore catalog.db from a backup. Nothing was changed"
            )

    def temporaries(self) -> Iterator[Path]:
        """Files that a process which died was writing."""
        for folder in (self.path, self.models, self.segments):
            yield from (file for file in self._files(folder) if _TEMPORARY.fullmatch(file.name))

    @contextlib.contextmanager
    def linked(self) -> Iterator[Path]:
        """A folder of hard links to all segment files, which outlast their removal. Another process may do the same."""
        links = self.path / f"{_LINKS}{secrets.token_hex(8)}"
        links.mkdir()
        try:
            for name in self.segment_files():
                with contextlib.suppress(Vanished):
                    self.link(name, links)
            yield links
        finally:
            shutil.rmtree(links, ignore_errors=True)

    def link(self, segment: str, links: Path) -> None:
        """Adds one, unless it is there. Vanished where there is no such file."""
        try:
            (links / segment).hardlink_to(self.segments / segment)
        except FileExistsError:
            pass
        except FileNotFoundError as error:
            raise Vanished(f"{self.segments / segment} is missing") from error

    def drop_links(self) -> None:
        """Removes those of a process that died."""
        for links in self.path.glob(f"{_LINKS}*"):
            shutil.rmtree(links, ignore_errors=True)

    def model_digests(self) -> set[str]:
        """Of the files of models."""
        return {match[1] for file in self._files(self.models) if (match := MODEL_FILE.fullmatch(file.name))}

    def segment_files(self) -> set[str]:
        """Names of files that look like segments."""
        return {file.name for file in self._files(self.segments) if SEGMENT_FILE.fullmatch(file.name)}

    def set_aside(self, file: Path, why: str) -> None:
        """Moves a file into quarantine/."""
        self._quarantined(file, why, "moved", file.rename)

    def keep_copy(self, file: Path, why: str) -> None:
        """Copies a file that is about to change into quarantine/."""
        if file.exists() and file.stat().st_size > 0:
            self._quarantined(file, why, "copied", lambda to: shutil.copyfile(file, to))

    def _quarantined(self, file: Path, why: str, verb: str, action: Callable[[Path], Any]) -> None:
        names = (self.quarantine / f"{file.name}.{i}" for i in itertools.count())
        try:
            self.quarantine.mkdir(exist_ok=True)
            to = next(name for name in names if not name.exists())
            action(to)
        except OSError:
            _log.warning("%s %s, and could not be %s to %s", file, why, verb, self.quarantine, exc_info=True)
        else:
            _log.warning("%s %s: %s to %s", file, why, verb, to)

    @staticmethod
    def _files(folder: Path) -> list[Path]:
        return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []


class Reserve:
    """A file of nothing, given up on a full disk so that what frees space can be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = 0

    def fill(self, log_bytes: int = 0) -> None:
        """Takes the space, if there is any and it was not taken before: more by what the catalog's log has, which can
        only be emptied where the catalog has room to grow by it."""
        wanted = RESERVE_BYTES + -(-log_bytes // _STEP) * _STEP
        if self._held >= wanted:
            return
        with contextlib.suppress(OSError), self._path.open("ab") as file:
            self._held = file.tell()
            if self._held < wanted:
                try:
                    _extend(file.fileno(), self._held, wanted)
                    self._held = wanted
                except OSError:
                    os.truncate(file.fileno(), self._held)

    def release(self) -> bool:
        """Gives the space back; whether there was any."""
        self._held = 0
        with contextlib.suppress(OSError):
            if self._path.stat().st_size > 0:
                os.truncate(self._path, 0)
                return True
        return False


def _extend(file: int, size: int, wanted: int) -> None:
    """Gives an open file of ``size`` bytes the space of ``wanted``. ``OSError`` where there is not so much."""
    if sys.platform == "linux":
        os.posix_fallocate(file, 0, wanted)
    elif os.write(file, bytes(wanted - size)) < wanted - size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
