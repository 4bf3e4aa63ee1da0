"""How long calls took lately: a histogram a method and a slot of time, for the dashboard's chart."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from bebr.serve.calls import Call

SECONDS, SLOTS = 10, 60
# Buckets grow by a twentieth: a quantile is right to 2.5 %.
_STEP = math.log(1.05)


class Latency:
    """Belongs to one thread. ``now``: seconds, for tests."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._slots: deque[tuple[int, dict[str, Counter[int]]]] = deque(maxlen=SLOTS)

    def note(self, call: Call) -> None:
        """A call has ended; one that was cancelled says nothing of the server."""
        if call.code == "CANCELLED":
            return
        slot = int(self._now() // SECONDS)
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append((slot, {}))
        histogram = self._slots[-1][1].setdefault(call.method, Counter())
        histogram[int(math.log(max(call.elapsed, 1)) / _STEP)] += 1

    def series(self) -> dict[str, Any]:
        """Of each method the slots of the last ten minutes that had calls, the oldest first."""
        newest = int(self._now() // SECONDS)
        methods: dict[str, list[dict[str, float]]] = {}
        for slot, histograms in self._slots:
            if slot <= newest - SLOTS:
                continue
            for method, histogram in histograms.items():
                calls = histogram.total()
                figures: dict[str, float] = {"time": slot * SECONDS, "calls": calls}
                figures |= {f"p{q}_ms": quantile(histogram, q / 100) for q in (50, 99)}
                methods.setdefault(method, []).append(figures)
        return {"seconds": SECONDS, "slots": SLOTS, "time": newest * SECONDS, "methods": methods}


def quantile(histogram: Counter[int], share: float) -> float:
    """Milliseconds that so large a share of the calls took at most."""
    rank, seen = math.ceil(share * histogram.total()), 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return round(math.exp((bucket + 0.5) * _STEP) / 1e6, 4)
    raise ValueError("the histogram is empty")
