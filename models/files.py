"""Whole files or none. (The engine has the like for its own formats; producers use its public names only.)"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well, and goes away when it does not."""
    # Nobody else's: another thread, process or container may write the same path now.
    temporary = path.with_name(f"{path.name}.tmp{secrets.token_hex(8)}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
