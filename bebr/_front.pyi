"""Typed face of the extension that is a server's front. It is there where libnghttp2 was when bebr was built. Errors:
ValueError, OSError."""

from typing import Any

from bebr.core import ByteBudget, Searcher

tls: bool

class Front:
    """csrc/server/front.h. certificate, key, client_ca: paths of PEM files, empty for none."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        upstream: str,
        budget: ByteBudget,
        loops: int,
        threads: int,
        most_batch: int,
        queries: int,
        k: int,
        answers: int,
        calls: int,
        certificate: str,
        key: str,
        client_ca: str,
    ) -> None: ...
    def start(self) -> int:
        """Listens; the port."""

    def drain(self, grace: float) -> bool: ...
    def stop(self) -> None: ...
    def publish(self, collection: str, model: str, searcher: Searcher | None) -> None: ...
    def set_open(self, open: bool) -> None:
        """Whether any caller may search. Where not, every call is forwarded: keys are checked in Python."""

    def set_traced(self, traced: bool) -> None:
        """Whether calls of a trace that is being recorded are forwarded: their spans are made in Python."""

    def record(self, most: int) -> None:
        """Keeps what searches did from now on, at most so many at a time."""

    def take_finished(self) -> list[tuple[Any, ...]]:
        """Since the last call: collection, status code, ns of all, of waiting and of the search, queries, queries of
        its kernel call, and what was asked: (k, coded, exact, oversampling, radius, rescore)."""

    def counts(self) -> dict[str, int]: ...
    def batching(self, collection: str) -> tuple[int, int, int, int]: ...

def read_search(message: bytes) -> dict[str, object] | None:
    """What the front makes of a SearchRequest; None for one that it forwards."""
