"""Calls that are about one collection, one after the other; those about another go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Turn:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls = 0


class Turns:
    def __init__(self) -> None:
        self._guard = threading.Lock()  # over _turns; held for moments
        self._turns: dict[str, _Turn] = {}  # of names that somebody has or waits for

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Holds back other blocks of this name."""
        with self._guard:
            turn = self._turns.setdefault(name, _Turn())
            turn.calls += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._guard:
                turn.calls -= 1
                if not turn.calls:
                    del self._turns[name]

    def wait(self) -> None:
        """Until those blocks have ended that had begun."""
        with self._guard:
            turns = list(self._turns.values())
        for turn in turns:
            with turn.lock:
                pass
