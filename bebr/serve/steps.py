"""What a client asks a server, without doing it: a method is a generator of the calls that it needs.

Whoever runs it makes each call, blocking (`client.py`) or on an event loop (`async_client.py`), and hands the reply
back. So what is asked, in which order, and what comes of errors stands once for both.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

R = TypeVar("R")


@dataclass(slots=True)
class Ask:
    """A call of ``method`` ("Points/Upsert"); its reply comes back, or its error as a Python exception. A stream of
    requests is an iterator; bytes are a request as it is sent. Of "Points/Search" request and reply are bytes."""

    method: str
    request: Message | bytes | Iterator[Message | bytes]


@dataclass(slots=True)
class Pause:
    """Nothing is asked for so many seconds."""

    seconds: float


Steps: TypeAlias = Generator[Ask | Pause, Any, R]
