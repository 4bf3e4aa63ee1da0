"""The object store of a database that several processes have open: models and segments, which never change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bebr.store.files.places import Place, Unreachable, place_of, reached

MODELS, SEGMENTS = "models", "segments"
_IDENTITY = "database/identity"


class ObjectStore:
    """At a URL that fsspec knows, or a folder by `file://`. What a call raises is FileNotFoundError, an error of bebr,
    or ConnectionError, which names the store: whatever else its driver raises means that it cannot be reached."""

    def __init__(self, url: str) -> None:
        path = url.removeprefix("file://")
        self.url = url
        self._place: Place = place_of(path if path != url else url)

    def read(self, name: str) -> Iterator[bytes]:
        """The contents, in pieces."""
        with self._reached(f"{name} was not read"):
            yield from self._place.read(name)

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Makes a file, as a whole or not at all."""
        with self._reached(f"{name} was not written"):
            self._place.write(name, pieces)

    def names(self, folder: str) -> set[str]:
        """Of the files in a folder."""
        with self._reached(f"{folder} was not listed"):
            return set(self._place.sizes(folder))

    def remove(self, name: str) -> None:
        """Deletes a file, if it is there."""
        with self._reached(f"{name} was not removed"):
            self._place.remove(name)

    def identify(self, database: str, empty: bool) -> None:
        """ValueError unless it is that of the database, or of none so far and `empty` says that the catalog lists no
        files: then it is marked as that database's."""
        try:
            found = b"".join(self.read(_IDENTITY)).decode(errors="replace")
        except FileNotFoundError:
            if not empty:
                raise ValueError(f"segments is {self.url!r}: the catalog lists files, and none are there") from None
            self.write(_IDENTITY, [database.encode()])
            return
        if found != database:
            raise ValueError(f"segments is {self.url!r}, which belongs to another database: want the one made with it")

    @contextmanager
    def _reached(self, costs: str) -> Iterator[None]:
        try:
            with reached(self.url):
                yield
        except Unreachable as error:
            raise Unreachable(f"{error}; {costs}") from error
