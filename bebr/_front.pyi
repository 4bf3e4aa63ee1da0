"""Typed face of the extension that is a server's front. It is there where libnghttp2 was when bebr was built. Errors:
ValueError, OSError."""

from collections.abc import Sequence
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
        reply_bytes: int,
        certificate: str,
        key: str,
        client_ca: str,
    ) -> None: ...
    def start(self) -> int:
        """Listens; the port."""

    def drain(self, grace: float) -> bool: ...
    def stop(self) -> None: ...
    def publish(self, collection: str, model: str, searcher: Searcher | None) -> None: ...
    def publish_filter(self, collection: str, of: Searcher, filter: str, rows: Searcher | None) -> bool:
        """The rows of what is published that a filter, written so, lets through; None: it is forwarded from now on.
        False where `of` is not what is published."""

    def set_open(self, open: bool) -> None:
        """Whether anybody may call. Where not, a caller needs a key of the table that was set last."""

    def set_keys(
        self,
        path: str,
        stamp: tuple[int, int, int],
        keys: Sequence[tuple[bytes, Sequence[str] | None, str]],
        missing: str,
        wrong: str,
    ) -> None:
        """The keys that hold as long as the file has this stamp (inode, ns, bytes): of each its SHA-256, the
        collections that it is for, and what it is told of another, "{}" in place of its name. missing, wrong: what a
        caller without a key is told, and one with another."""

    def set_traced(self, traced: bool) -> None:
        """Whether calls of a trace that is being recorded are forwarded: their spans are made in Python."""

    def record(self, most: int) -> None:
        """Keeps what searches did from now on, at most so many at a time."""

    def take_finished(self) -> list[dict[str, Any]]:
        """Searches since the last call: collection; code, of the status; elapsed, queued and searched, in ns; queries,
        0 of one that was refused; batch, queries of its kernel call; asked, (k, coded, oversampling, exact, radius,
        rescore, nprobe, ef_search); filter, as it was written, or None; request_id; peer, the caller's address."""

    def take_denied(self) -> list[tuple[str, str]]:
        """Calls without a right key since the last call, the first thousand: the caller's address, and the method."""

    def counts(self) -> dict[str, int]: ...
    def batching(self, collection: str) -> tuple[int, int, int, int]: ...

def read_search(message: bytes) -> dict[str, object] | None:
    """What the front makes of a SearchRequest; None for one that it forwards."""
