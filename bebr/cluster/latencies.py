"""How long calls took lately, and so after which time a second try is worth it."""

from __future__ import annotations

from collections import deque

import numpy as np

KEPT = 256
# So many are measured before they tell anything; until then the delay is FIRST.
_FEWEST = 32
FIRST, LEAST, MOST = 0.15, 0.005, 1.0


class Latencies:
    """Of calls of one kind. `delay`: the 95th percentile of the last 256, .005 to 1 s; .15 s as long as there are fewer
    than 32. So one call in twenty is tried twice, and a leaf that says nothing costs its callers that long."""

    def __init__(self) -> None:
        self.delay = FIRST
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._new = 0

    def note(self, *seconds: float) -> None:
        """Calls took so long."""
        self._seconds.extend(seconds)
        self._new += len(seconds)
        if self._new >= _FEWEST:
            self._new = 0
            self.delay = min(max(float(np.quantile(self._seconds, 0.95)), LEAST), MOST)
