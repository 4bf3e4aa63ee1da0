"""Who is at the other end of a call, and a log of those who had no right key."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

_log = logging.getLogger("bebr.serve")

# What the front says of the client whose call it forwards (csrc/server/headers.h).
PEER = "x-bebr-peer"
# One line a host in so many seconds; of no more hosts than this.
_EVERY, _MOST_HOSTS = 10.0, 1000
_LONGEST = 128


def peer_of(context: Any) -> str:
    """The client's address, "ipv4:10.0.0.7:51234"; "unix:" where it is not known. Only what the front says is taken for
    another's address: it connects by a socket that nobody else may enter."""
    peer = unquote(context.peer())
    if peer.startswith("unix:"):
        peer = next((str(value) for name, value in context.invocation_metadata() or () if name == PEER), peer)
    return peer


class TurnedAway:
    """Logs calls without a right key: of each host the first, then how many more there were, every ten seconds. A key
    is never logged."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}
        self._more: Counter[str] = Counter()

    def note(self, peer: str, method: str) -> None:
        host, now = peer.rpartition(":")[0], self._clock()
        if host not in self._said and len(self._said) >= _MOST_HOSTS:
            old = min(self._said, key=self._said.__getitem__)
            if now < self._said[old] + _EVERY:
                host = ""  # so many at once: they share one line
            else:
                del self._said[old], self._more[old]
        if now < self._said.get(host, -_EVERY) + _EVERY:
            self._more[host] += 1
            return
        self._said[host] = now
        more = self._more.pop(host, 0)
        fields = {"peer": peer[:_LONGEST], "method": method[:_LONGEST], "more": more}
        _log.warning("no right key", extra={"fields": fields})
