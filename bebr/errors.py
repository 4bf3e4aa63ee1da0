"""The errors of bebr that no builtin exception names (docs/architecture.md, "Errors").

Bad arguments are ``ValueError``, unknown names ``KeyError``; both mean the same locally and over gRPC.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class Error(Exception):
    """Base of the errors below."""


class IncompatibleModel(Error):
    """The queries' model is neither the model of the codes nor compatible with it."""


class CorruptFile(Error):
    """A file is damaged, truncated, of another kind, or newer than this build can read. The message names path, section
    and checksums."""


class Cancelled(Error):
    """The search was stopped through its stop flag."""


class LimitExceeded(Error):
    """A limit (message size, k, batch, memory, disk) would be exceeded; nothing was written."""


class DeviceUnavailable(Error):
    """The requested device cannot be used here. The message says why."""


# What the system says where it has no more to give: disk, size of a file, open files, memory.
_EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_exhausted(error: OSError) -> bool:
    """Whether the system had no more to give."""
    return error.errno in _EXHAUSTED


@contextmanager
def limited(what: str) -> Iterator[None]:
    """Raises ``LimitExceeded`` where the system has no more to give for a block, ``what`` being what it was for."""
    try:
        yield
    except OSError as error:
        if not is_exhausted(error):
            raise
        raise LimitExceeded(f"{what}: {os.strerror(error.errno or 0)}; free some and repeat") from error
