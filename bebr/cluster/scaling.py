"""How many replicas a cluster has by what its leaves have to do."""

from __future__ import annotations

from collections.abc import Mapping

# Replicas are added above HIGH, of the cores of the nodes that have leaves, and taken away where LOW would do for what
# is left; once that has been so for so many seconds.
_HIGH, _LOW = 0.6, 0.3
_RISEN, _FALLEN = 10.0, 60.0


class Scaling:
    """Between `least` and `most` replicas, one more or less at a time."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most
        self._risen: float | None = None  # since when
        self._fallen: float | None = None

    def replicas(self, now: int, loads: Mapping[str, float | None], seconds: float) -> int:
        """How many there are to be, of `now`. `loads`: of each node that may have leaves, how much of its cores these
        take, 0 to 1; None where it has none. `seconds`: the time, by a clock that does not go back.

        A node that has no leaf, or little to do, must be there: else one more would take from the others.
        """
        there = [load for load in loads.values() if load is not None]
        mean = sum(there) / len(there) if there else 0.0
        idle = any(load is None or load < _HIGH / 2 for load in loads.values())
        rises = now < self._most and mean > _HIGH and idle
        falls = now > self._least and mean * now / max(now - 1, 1) < _LOW
        self._risen = None if not rises else seconds if self._risen is None else self._risen
        self._fallen = None if not falls else seconds if self._fallen is None else self._fallen
        if self._risen is not None and seconds - self._risen >= _RISEN:
            self._risen, now = None, now + 1
        elif self._fallen is not None and seconds - self._fallen >= _FALLEN:
            self._fallen, now = None, now - 1
        return min(max(now, self._least), self._most)
