"""How many of the best by code get exact scores among rows in memory: measured before a file of them is.

Else the first rows of a collection, 50,000 if nobody waits for a seal, would be searched as if their codes were good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bebr.store.segments.calibrating import FEWEST_FLAT, calibrated
from bebr.store.writes.current import Current

# Rows in memory are measured anew once they are so many times those that were.
_TIMES = 2


def measuring_due(current: Current) -> bool:
    """Whether rows in memory are to be measured: enough of them, and no file of as many rows says what they want."""
    state = current.state
    tail = state.snapshot.tail
    few = tail.part.rows < max(FEWEST_FLAT, _TIMES * state.tail.measured)
    if few or state.keeping is None or state.migrating:
        return False
    return not any(view.part.rescored is not None and view.live >= tail.live for view in state.snapshot.segments)


def measure_memory(current: Current, pause: Callable[[], None]) -> None:
    """Measures them, if that is due, beside searches and writes; the next search knows. `pause` is called between
    pieces of work, and may raise."""
    if current.closed is not None or not measuring_due(current):
        return
    state = current.state
    tail, view = state.tail, state.snapshot.tail
    if view.part.origin is not tail:
        return  # a seal just took it

    def checked() -> None:
        pause()
        current.check_open()

    found = calibrated(view.part, state.keeping, state.row.settings.target_recall, checked, view.unsearched)

    def keep() -> None:
        tail.measured, tail.rescored = view.part.rows, found.rescored
        now = state.snapshot
        if state is current.state and state.tail is tail and found.rescored is not None:
            current.show(replace(now, tail=replace(now.tail, part=tail.part())))

    current.run(keep)
