"""Where a file may be written: asked before the work that fills it."""

from __future__ import annotations

from pathlib import Path


def check_output(path: str | Path, *suffixes: str) -> Path:
    """Return `path` if its name ends in one of `suffixes` and its folder exists; ValueError, FileNotFoundError."""
    path = Path(path)
    if path.suffix not in suffixes:
        raise ValueError(f"{path}: got suffix '{path.suffix}', wanted one of {', '.join(suffixes)}")
    if path.is_dir():
        raise ValueError(f"{path}: got a folder, wanted a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    return path
