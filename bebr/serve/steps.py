"""What a client asks a server, without doing it: a method is a generator of the calls that it needs.

Whoever runs it makes each call, blocking (`client.py`) or on an event loop (`async_client.py`), and hands the reply
back. So what is asked, in which order, and what comes of errors stands once for both.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

R = TypeVar("R")


@dataclass(slots=True)
class Ask:
    """A call of ``method`` ("Points/Upsert"); its reply comes back, or its error as a Python exception. A stream of
    requests is an iterator; bytes are a request as it is sent. Searches are a `Search`."""

    method: str
    request: Message | bytes | Iterator[Message | bytes]


@dataclass(slots=True)
class Search:
    """A call of "Points/Search"; an `answers.Answer` comes back. ``head``: the request as it is sent, up to the numbers
    of ``queries``, which end it. ``width``: hits of each query, or of each group of one; ``ascending``: scores are
    distances; ``whole``: all that was answered is wanted."""

    head: bytes
    queries: NDArray[np.floating] | None
    width: int
    ascending: bool
    whole: bool

    def message(self) -> bytes:
        """All of the request."""
        return self.head if self.queries is None else b"".join((self.head, self.queries.data))


@dataclass(slots=True)
class Pause:
    """Nothing is asked for so many seconds."""

    seconds: float


Step: TypeAlias = Ask | Search | Pause
Steps: TypeAlias = Generator[Step, Any, R]
