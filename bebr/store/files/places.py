"""Where snapshots, or shared segments, are kept: a folder, or what fsspec reaches by URL. A file is there as a whole or
not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from bebr.errors import Error, limited
from bebr.extras import needed
from bebr.files import replacing

PIECE = 1 << 20  # bytes of a file that are in memory at a time


class Place(Protocol):
    """Files by name, ``folder/file``."""

    def sizes(self, folder: str) -> dict[str, int]:
        """The files in a folder and their bytes; none where there is no such folder."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """The contents, in pieces. FileNotFoundError."""
        ...

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Makes a file of `pieces`, in the place of one of that name."""
        ...

    def remove(self, name: str) -> None:
        """Deletes a file, if it is there."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Deletes a folder that is empty, where a place has folders."""
        ...


def place_of(where: str | os.PathLike[str]) -> Place:
    """The place at a path, or at a URL (``scheme://…``): that needs fsspec, and the package that fsspec names for its
    scheme."""
    text = os.fspath(where)
    return UrlPlace(text) if "://" in text else FolderPlace(Path(text))


class Unreachable(ConnectionError):
    """What a driver of a place raised, other than FileNotFoundError; the message names the place."""


@contextlib.contextmanager
def reached(place: object) -> Iterator[None]:
    """Around calls of the driver of `place`: each has errors of its own. Unreachable."""
    try:
        yield
    except (FileNotFoundError, Error, Unreachable):
        raise
    except Exception as error:
        raise Unreachable(f"{place} cannot be reached: {error!r}") from error


class FolderPlace:
    """A folder, made with the first file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def sizes(self, folder: str) -> dict[str, int]:
        path = self._path / folder
        return {file.name: file.stat().st_size for file in path.iterdir() if file.is_file()} if path.is_dir() else {}

    def read(self, name: str) -> Iterator[bytes]:
        return pieces_of(self._path / name)

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        path = self._path / name
        with limited(f"{path} cannot be written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.writelines(pieces)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        (self._path / folder).rmdir()


class UrlPlace:
    """A folder of a file system that fsspec knows."""

    def __init__(self, url: str) -> None:
        with needed("remote", f"reaching {url}"):
            from fsspec.core import url_to_fs

            # A listing that is remembered would not show what another process wrote.
            files, root = url_to_fs(url, use_listings_cache=False)
        self._url, self._files, self._root = url.rstrip("/"), files, root.rstrip("/")

    def __str__(self) -> str:
        return self._url

    def sizes(self, folder: str) -> dict[str, int]:
        path = f"{self._root}/{folder}"
        try:
            with reached(self):
                entries: list[dict[str, Any]] = self._files.ls(path, detail=True)
        except FileNotFoundError:
            return {}
        return {entry["name"].rpartition("/")[2]: entry["size"] for entry in entries if entry["type"] == "file"}

    def read(self, name: str) -> Iterator[bytes]:
        with reached(self), self._files.open(f"{self._root}/{name}", "rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        path = f"{self._root}/{name}"
        temporary = f"{path}.tmp{secrets.token_hex(8)}"
        with reached(self), limited(f"{self}/{name} cannot be written"):
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                # Closing a file that was cut short keeps its beginning: only a whole one gets its name.
                with self._files.open(temporary, "wb") as file:
                    for piece in pieces:
                        file.write(piece)
                self._files.mv(temporary, path)
            except BaseException:
                if self._files.exists(temporary):
                    self._files.rm(temporary)
                raise

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), reached(self):
            self._files.rm_file(f"{self._root}/{name}")

    def remove_folder(self, folder: str) -> None:
        with contextlib.suppress(OSError):
            self._files.rmdir(f"{self._root}/{folder}")


def pieces_of(path: Path) -> Iterator[bytes]:
    """The contents of a file, in pieces."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
