"""The process that opened a database. A fork of it has its objects, but none of the threads that write."""

from __future__ import annotations

import os

from bebr.collection.protocol import DatabaseLocked


class Opener:
    """This process, as of when it was made."""

    def __init__(self) -> None:
        self._number = os.getpid()

    @property
    def here(self) -> bool:
        """Whether this is it still, and no fork."""
        return os.getpid() == self._number

    def check(self) -> None:
        """DatabaseLocked in a fork: a write there would wait for ever for a thread that only its parent has."""
        if not self.here:
            raise DatabaseLocked(
                f"the database was opened by process {self._number}, of which this one is a fork: write there, or open "
                f"it after the fork"
            )
