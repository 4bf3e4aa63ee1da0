"""API keys: who may call a server, and for what. They lie as ``keys.json`` in the data folder, as SHA-256 alone.

A plain hash is enough: a key is 256 random bits, so nobody finds it by trying, as a password is found.
"""

from __future__ import annotations

import enum
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bebr.collection.checks import check_name
from bebr.errors import CorruptFile
from bebr.files import replacing

FILE = "keys.json"
_FORMAT = 1
_PREFIX = "bebr_"  # lets scanners for leaked secrets find keys
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


Stamp = tuple[int, int, int]
"""Inode, time of the last change in ns, and bytes: what tells one content of the file from another."""


class Role(enum.IntEnum):
    """Each may do what those before it may."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True)
class Key:
    """``collections``: names that it is for, aliases among them, as calls write them; None: all."""

    name: str
    role: Role
    collections: tuple[str, ...] | None
    sha256: str
    created: str

    def granted(self, name: str) -> bool:
        return self.collections is None or name in self.collections


class KeyFile:
    """The keys of one data folder. Another process may change them: each look reads a file that has changed."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / FILE
        self._seen: Stamp | None = None
        self._keys: tuple[Key, ...] = ()
        self._watchers: list[Callable[[Stamp, tuple[Key, ...]], None]] = []

    def exists(self) -> bool:
        return self.path.exists()

    def current(self) -> tuple[Key, ...]:
        """As they stand now; none where there is no file. ``CorruptFile`` where it cannot be read."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self._seen, self._keys = None, ()
            return ()
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            self._keys = _read(self.path)
            self._seen = seen
            for tell in self._watchers:
                tell(seen, self._keys)
        return self._keys

    def watch(self, told: Callable[[Stamp, tuple[Key, ...]], None]) -> None:
        """Has ``told`` called with the keys that were read last, and with those of every file that `current` reads from
        now on; before them, the stamp that the file had."""
        self._watchers.append(told)
        if self._seen is not None:
            told(self._seen, self._keys)

    def find(self, token: str) -> Key | None:
        """The key that ``token`` is. The time that it takes says nothing of how near a wrong one is."""
        digest = _digest(token)
        found = None
        for key in self.current():
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def create(self, name: str, role: Role, collections: Sequence[str] | None = None) -> str:
        """Adds a key and returns its text, which is kept nowhere. ``ValueError`` for a bad name or a taken one."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"name is {name!r}: want 1 to 64 characters of A-Z a-z 0-9 _ . @ -")
        if collections is not None and not collections:
            raise ValueError("collections is empty: want the names that the key is for, or None for all")
        grants = None if collections is None else tuple(sorted({check_name(one) for one in collections}))
        token = _PREFIX + secrets.token_urlsafe(32)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            keys = self.current()
            if any(key.name == name for key in keys):
                raise ValueError(f"name is {name!r}: there is a key of that name; revoke it first, or choose another")
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            self._write((*keys, Key(name, role, grants, _digest(token), now)))
        return token

    def revoke(self, name: str) -> None:
        """Removes a key. ``KeyError`` if there is none of that name. A file without keys lets nobody in."""
        if not self.exists():
            raise KeyError(f"no key {name!r}: {self.path} is not there")
        with self._alone():
            keys = self.current()
            if all(key.name != name for key in keys):
                raise KeyError(f"no key {name!r}")
            self._write(tuple(key for key in keys if key.name != name))

    def _write(self, keys: tuple[Key, ...]) -> None:
        entries = [
            {
                "name": key.name,
                "role": key.role.name.lower(),
                "collections": key.collections,
                "sha256": key.sha256,
                "created": key.created,
            }
            for key in keys
        ]
        with replacing(self.path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(json.dumps({"format": _FORMAT, "keys": entries}, indent=1) + "\n")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes the file during the block. A server that has the folder open does not hinder it."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def keys_in(folder: str | os.PathLike[str] | None, data: str | os.PathLike[str]) -> KeyFile | None:
    """Those of a folder that was named, or else of a data folder; None where it has none. ``ValueError`` for one that
    was named and has none; ``CorruptFile`` for a file that cannot be read."""
    file = KeyFile(data if folder is None else folder)
    if not file.exists():
        if folder is not None:
            raise ValueError(f"key_folder is {os.fspath(folder)!r}, where no keys are: make some by `bebr keys create`")
        return None
    file.current()
    return file


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _read(path: Path) -> tuple[Key, ...]:
    try:
        content = json.loads(path.read_text())
        if content["format"] != _FORMAT:
            raise CorruptFile(f"{path} has format {content['format']}: this bebr reads {_FORMAT}, upgrade it")
        return tuple(_key(entry) for entry in content["keys"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFile(f"{path} is no file of keys ({error}): restore it, or remove it and make new keys") from error


def _key(entry: dict[str, Any]) -> Key:
    grants = entry["collections"]
    if not re.fullmatch("[0-9a-f]{64}", entry["sha256"]):
        raise ValueError("sha256 is not 64 hexadecimal digits")
    return Key(
        str(entry["name"]),
        Role[entry["role"].upper()],
        None if grants is None else tuple(map(str, grants)),
        entry["sha256"],
        str(entry["created"]),
    )
