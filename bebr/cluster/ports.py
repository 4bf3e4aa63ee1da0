"""A port that a root has alone, or with the one that is to replace it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRIES, _BETWEEN = 20, 0.1


@contextmanager
def held(host: str, port: int, url: str) -> Iterator[None]:
    """For the length of the block, the port is for roots of the database at `url`, of this user's. ``OSError`` where
    roots of another one have it. The system does not tell one user's listeners on a port apart; this file does."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "bebr" / "roots" / f"{host.replace(':', '_')}-{port}"
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(url.encode()).hexdigest()
    with path.open("a+") as file:
        for _ in range(_TRIES):
            if _locked(file.fileno(), fcntl.LOCK_EX):
                file.truncate(0)
                file.write(digest)
                file.flush()
                fcntl.flock(file, fcntl.LOCK_SH)
            elif not _locked(file.fileno(), fcntl.LOCK_SH):
                time.sleep(_BETWEEN)
                continue
            file.seek(0)
            if file.read() == digest:
                yield
                return
            break
        raise OSError(f"port {port} of {host} is that of a root of another database: want another port")


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
