"""What C++ libraries print on stderr: gathered, and told once at the end instead of a thousand times across the bar."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_TOLD_LINES = 10


@contextmanager
def gathered_stderr() -> Iterator[list[str]]:
    """Hold back what is written to file descriptor 2 in the block; afterwards the yielded list has a line a message.

    Equal messages are one line with their number; past ten different ones, the count of the rest. Whatever else prints
    meanwhile is gathered too, so a progress bar needs a descriptor of its own.
    """
    told: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield told
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            counts = Counter(line for line in file.read().decode(errors="replace").splitlines() if line.strip())
            for line, count in counts.most_common(_TOLD_LINES):
                told.append(line if count == 1 else f"{line} ({count:,} times)")
            if len(counts) > _TOLD_LINES:
                told.append(f"and {len(counts) - _TOLD_LINES:,} more messages")
