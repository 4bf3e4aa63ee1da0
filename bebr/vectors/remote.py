"""Parquet files at URLs, by fsspec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bebr.extras import needed


def is_url(source: object) -> bool:
    return isinstance(source, str) and "://" in source


def expanded(url: str) -> list[str]:
    """The Parquet files of a URL, of a folder or of a pattern with ``*``, in the order of their names.
    ``FileNotFoundError`` where there are none."""
    files, path = _system(url)
    if "*" in path:
        found = files.glob(path)
    elif files.isdir(path):
        found = [name for name in files.ls(path, detail=False) if name.endswith(".parquet")]
    else:
        found = [path] if files.exists(path) else []
    if not found:
        raise FileNotFoundError(f"{url}: there are no Parquet files")
    return [files.unstrip_protocol(name) for name in sorted(found)]


def opened(path: str | Path) -> Any:
    """What pyarrow takes: a path, or the file at a URL."""
    if not is_url(path):
        return path
    files, name = _system(str(path))
    return files.open(name, "rb")


def facts(url: str) -> list[Any]:
    """What changes where the file does."""
    files, name = _system(url)
    about = files.info(name)
    return [url, about["size"], *(str(about[key]) for key in ("ETag", "etag", "mtime", "LastModified") if key in about)]


def _system(url: str) -> tuple[Any, str]:
    with needed("remote", f"reaching {url}"):
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url)
    return files, path
