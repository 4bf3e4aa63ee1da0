"""What a snapshot says of itself: when it was made, which collections at which version, which files of which digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bebr.collection.protocol import SnapshotInfo
from bebr.errors import CorruptFile
from bebr.store.files.folder import MODEL_FILE, SEGMENT_FILE

_FORMAT = 1
SNAPSHOT_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
# Where a file belongs in a data folder, and where in the place of snapshots. A manifest may come from anywhere.
_FILE = re.compile(rf"catalog\.db|catalog\.versions|models/{MODEL_FILE.pattern}|segments/{SEGMENT_FILE.pattern}")
_STORED = re.compile(r"(?:catalogs|models|segments)/[0-9a-f]{16,64}\.[a-z]+")


@dataclass(frozen=True)
class FileEntry:
    """A file of a snapshot: its `stored` name in the place, its `bytes`, and its `digest`: of a segment that of its
    contents (`contents_digest`), of any other the first digits of its SHA-256."""

    stored: str
    bytes: int
    digest: str

    @staticmethod
    def at(folder: str, suffix: str, size: int, digest: str) -> FileEntry:
        return FileEntry(f"{folder}/{digest}{suffix}", size, digest)


@dataclass(frozen=True)
class Manifest:
    """`files` by their names in the data folder."""

    info: SnapshotInfo
    files: Mapping[str, FileEntry]

    def packed(self) -> bytes:
        """As JSON, with its own digest."""
        body = {"format": _FORMAT, "info": asdict(self.info), "files": {n: asdict(e) for n, e in self.files.items()}}
        return json.dumps({**body, "digest": _digest(body)}, indent=1, sort_keys=True).encode()

    @staticmethod
    def parse(data: bytes, source: str) -> Manifest:
        """The inverse; CorruptFile names `source`."""
        try:
            body = json.loads(data)
            expected, found = body.pop("digest"), _digest(body)
            if body["format"] != _FORMAT:
                raise CorruptFile(f"{source} has format {body['format']}: this version of bebr reads {_FORMAT}")
            if expected != found:
                raise CorruptFile(f"{source}: digest expected {expected}, found {found}")
            made = Manifest(SnapshotInfo(**body["info"]), {n: FileEntry(**e) for n, e in body["files"].items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptFile(f"{source} is no manifest of a snapshot ({error})") from error
        made._check_names(source)
        return made

    def _check_names(self, source: str) -> None:
        """Nothing is read or written outside of the folders."""
        names = (
            (SNAPSHOT_NAME, self.info.name),
            *((_FILE, n) for n in self.files),
            *((_STORED, e.stored) for e in self.files.values()),
        )
        for pattern, name in names:
            if not pattern.fullmatch(name):
                raise CorruptFile(f"{source} names {name!r}, which is no name of a snapshot or of a file in one")


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
