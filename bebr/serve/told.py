"""What the front says of the searches that it answered: of each, or what it counted of all."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc

# The names of status codes.
CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class Finished(NamedTuple):
    """What a search did that the front answered: as of `Call` and `Search`. ``code``: its number; ``asked``: k, coded,
    oversampling, exact, radius, rescore, nprobe, ef_search; ``filter``: its text; ``ended``: by the monotonic clock."""

    request_id: str
    peer: str
    collection: str
    code: int
    elapsed: int
    queued: int
    searched: int
    traced: bool
    ended: int
    queries: int
    batch: int
    scanned: int
    survivors: int
    asked: tuple[Any, ...]
    filter: str | None
    traceparent: str
    tracestate: str


class Figures(NamedTuple):
    """A histogram: how many values were up to each bound and above the one before it, last those above all."""

    counts: list[int]
    sum: float


class Counted(NamedTuple):
    """What the front counted of searches of a collection, those of names that stand for none under "". ``codes``: calls
    by the number of their code; bounds of ``seconds``, ``queued`` and ``searched`` are `SECONDS`, of ``batch``
    `QUERIES`."""

    collection: str
    codes: list[int]
    seconds: Figures
    queued: Figures
    searched: Figures
    batch: Figures

    @property
    def errors(self) -> dict[str, int]:
        """Calls that were not answered OK, by the name of their code."""
        return {CODES[code]: calls for code, calls in enumerate(self.codes) if code and calls}
