"""Whole files or none: write to a temporary name, sync, rename."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well, and goes away when it does not."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # /dev/null, say, whose name the file would take
        raise ValueError(f"{path} is no regular file: want another path")
    # Nobody else's: another thread, process or container may write the same path now.
    temporary = path.with_name(f"{path.name}.tmp{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """``data`` as the file ``path``."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """Makes names made, changed or removed in ``folder`` last."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
