"""Where a file may be written: asked before the work that fills it."""

from __future__ import annotations

from pathlib import Path


def check_output(path: str | Path, *suffixes: str, source: Path | None = None) -> Path:
    """Return `path` if its name ends in one of `suffixes`, its folder exists, and it is not `source`, which is read;
    ValueError, FileNotFoundError."""
    path = Path(path)
    if path.suffix not in suffixes:
        raise ValueError(f"{path}: got suffix '{path.suffix}', wanted one of {', '.join(suffixes)}")
    if path.is_dir():
        raise ValueError(f"{path}: got a folder, wanted a file to write")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise ValueError(f"{path}: is read, and would be replaced: want another name for the output")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    return path
