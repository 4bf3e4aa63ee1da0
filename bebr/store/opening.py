"""Which place the arguments of `bebr.open` name."""

from __future__ import annotations

import os
import re

from bebr.collection.checks import is_shared
from bebr.extras import needed
from bebr.store.home import FolderHome, Home

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def opened_home(
    path: str | os.PathLike[str],
    segments: str | None,
    cache: str | os.PathLike[str] | None,
    cache_bytes: int | None,
    lease_seconds: float | None,
) -> Home:
    """The place that the arguments of `Database` name."""
    if not is_shared(path):
        if path == "":
            raise ValueError("path is '': want a folder, '.' for the one that this process is in")
        if (scheme := _SCHEME.match(str(path))) is not None:  # it would be made, as a folder
            raise ValueError(f"path is a URL {scheme[0]}…: want a folder, or postgresql://…; a server: bebr.connect")
        shared = {"segments": segments, "cache": cache, "cache_bytes": cache_bytes, "lease_seconds": lease_seconds}
        for what, got in shared.items():
            if got is not None:
                raise ValueError(f"{what} is {got!r}, but path is a folder: want a URL postgresql://… with it")
        return FolderHome(path)
    if segments is None:
        raise ValueError("segments is None: want the URL of an object store, s3://… or file://…, beside postgresql://…")
    with needed("cluster", "bebr.open of postgresql://…"):
        import psycopg  # noqa: F401  SQLAlchemy would look for it only later
    from bebr.store.home_shared import SharedHome

    return SharedHome(str(path), segments, cache, cache_bytes, lease_seconds)
