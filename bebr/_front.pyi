"""Typed face of the extension that is the front of a server, and searches of its clients. It is there where libnghttp2
was when bebr was built. Errors:
ValueError, OSError."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.core import ByteBudget, Searcher

tls: bool

class Front:
    """csrc/server/front.h. certificate, key, client_ca: paths of PEM files, empty for none. seconds, batches: upper
    bounds of histograms, ascending. shared: others may listen on the port, too."""

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
        ids: int,
        calls: int,
        reply_bytes: int,
        certificate: str,
        key: str,
        client_ca: str,
        seconds: Sequence[float],
        batches: Sequence[float],
        shared: bool,
    ) -> None: ...
    def start(self) -> int:
        """Listens; the port."""

    def drain(self, grace: float) -> bool: ...
    def stop(self) -> None: ...
    def publish(self, collection: str, model: str, searcher: Searcher | None) -> None: ...
    def publish_filter(self, collection: str, of: Searcher, filter: str, rows: Searcher | None) -> bool:
        """The rows of what is published that a filter, written so, lets through; None: it is forwarded from now on.
        False where `of` is not what is published."""

    def set_aliases(self, aliases: Mapping[str, str]) -> None:
        """The collection of each alias: all of them, in place of those before."""

    def set_route(self, collection: str, route: tuple[Any, ...], renew: int, until: int) -> None:
        """Where the shards of a collection are: a bebr.serve.routing.Route. In ns of the monotonic clock, from when on
        another one is wanted, and searches are forwarded."""

    def end_route(self, collection: str) -> None:
        """Its searches are forwarded from now on."""

    def set_delay(self, ns: int) -> None:
        """After which another leaf is asked beside one that has not answered."""

    def take_asked(self) -> list[tuple[str, int, bool]]:
        """Calls of leaves since the last call: whose, ns, and whether it answered, or another one was faster."""

    def take_stale(self) -> list[str]:
        """Collections whose routes are to be renewed, since the last call."""

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

    def set_sampling(self, roots: float, recorded: bool, unrecorded: bool) -> None:
        """Which calls are to have a span (bebr.serve.tracing.Sampling), before `start`."""

    def state(self) -> int:
        """Another number after every change to what is published and to which names there are."""

    def keep_listing(self, state: int, request: bytes, reply: bytes) -> None:
        """Answers this request to list collections so until anything changes; ``state``: before the reply was made."""

    def forget(self, collection: str) -> None:
        """What was counted of a collection."""

    def count(self) -> None:
        """Counts calls from now on."""

    def counted(self) -> list[tuple[Any, ...]]:
        """What it counted, each as bebr.serve.told.Counted has it, histograms as (counts, sum)."""

    def record(self, most: int) -> None:
        """Keeps what searches did from now on, at most so many at a time."""

    def take_finished(self) -> list[tuple[Any, ...]]:
        """Searches since the last call, each as bebr.serve.told.Finished has it."""

    def take_denied(self) -> list[tuple[str, str]]:
        """Calls without a right key since the last call, the first thousand: the caller's address, and the method."""

    @property
    def news(self) -> int:
        """A file that may be read, 8 bytes, once there is something to take."""

    def counts(self) -> dict[str, int]: ...
    def batching(self, collection: str) -> tuple[int, int, int, int]: ...
    def work(self, collection: str) -> tuple[int, int]:
        """Rows scanned and survivors of the searches of a collection (bebr.serve.calls.Work)."""

class Caller:
    """csrc/client/caller.h: calls of one message each way, from any thread. ``host``, ``port``: of the server;
    ``authority``: both, as they were written; ``headers``: of every call; ``most``: connections."""

    def __init__(
        self, *, host: str, port: str, authority: str, headers: Sequence[tuple[str, str]], most: int
    ) -> None: ...
    def search(
        self,
        path: str,
        head: bytes,
        queries: NDArray[np.floating] | None,
        seconds: float | None,
        width: int,
        ascending: bool,
        whole: bool,
    ) -> tuple[tuple[str, int, bytes] | None, NDArray[np.float32] | None, NDArray[np.int64] | None, bytes | None]:
        """Sends ``head`` and the numbers of ``queries``. What failed, scores and ids, both [n, width], and the reply.

        What failed: how it ended ("answered", "late", "broken", "busy", "closed"), the status and its message as it was
        sent. The reply: where it is wanted ``whole`` or has more than hits; it comes without scores where it is none.
        An exception of a signal's handler ends it."""

    def close(self) -> None:
        """Ends calls in progress; later ones are "closed"."""

class Lookout:
    """csrc/client/lookout.h: asks servers the same again and again. ``every``: seconds from one look to the next;
    ``patience``: for which all answers of a look are waited for."""

    def __init__(
        self, *, callers: Sequence[Caller], path: str, message: bytes, every: float, patience: float
    ) -> None: ...
    def news(self) -> list[tuple[int, int, bytes | None, bool]]:
        """Looks until there is some; empty once it is stopped. Which caller, when it was asked in ns of the monotonic
        clock, its answer, other than before, or None where it did not answer, and whether that was for lateness."""

    def stop(self) -> None:
        """Ends ``news``, now and later."""

    def forget(self, which: int) -> None:
        """The next answer of this one is news."""

    def answered(self, which: int) -> int:
        """When it was last asked, ns, of those times that it answered as before; 0 for never."""

def read_search(message: bytes) -> dict[str, object] | None:
    """What the front makes of a SearchRequest; None for one that it forwards."""

def part_message(message: bytes, collection: str, model: str, number: int, shards: int) -> bytes | None:
    """The SearchRequest of a shard for that of a collection; None as of `read_search`."""

def merge_parts(replies: Sequence[bytes], queries: int, k: int, offset: int, ascending: bool) -> bytes | None:
    """From the SearchResponses of all shards that of the collection; None where one is none that a shard may give."""
