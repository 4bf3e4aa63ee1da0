"""What SQLite raises, as the errors of bebr."""

from __future__ import annotations

import errno
from pathlib import Path

from sqlalchemy.exc import InterfaceError, ProgrammingError, SQLAlchemyError

from bebr.collection.protocol import DatabaseLocked
from bebr.errors import CorruptFile, LimitExceeded


def translated(error: SQLAlchemyError, path: Path) -> Exception:
    """The error to raise for what a statement on the catalog at `path` raised; a mistake of ours stays as it is."""
    cause = getattr(error, "orig", None) or error
    text = str(cause)
    if isinstance(error, InterfaceError | ProgrammingError):
        return error
    if "is full" in text:
        return LimitExceeded(f"no space left for {path}: nothing was written; free some and repeat")
    if "too big" in text:
        return LimitExceeded(f"{path} cannot hold a value of 1 GB or more: nothing was written; write smaller batches")
    if "locked" in text:
        return DatabaseLocked(f"{path} is locked by another program: close it there first")
    if "disk I/O" in text or "unable to open" in text:
        return OSError(
            errno.EIO, f"{text} (a failing disk, too many open files, or a limit on the size of one)", str(path)
        )
    return CorruptFile(f"{path} is damaged: {text}; restore it from a backup")
