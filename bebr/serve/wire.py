"""What remote collections need of their client, and how columns are cut into messages that the server takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bebr.binarizer import Binarizer
from bebr.collection.bare import VectorsLike
from bebr.collection.keys import Named
from bebr.errors import LimitExceeded
from bebr.serve.steps import Steps
from bebr.v1 import bebr_pb2 as pb

_HALF = np.dtype(np.float16)

OVERHEAD = 4096
"""Room in a message for everything that is not a column."""

# A large upsert is sent in pieces of this size: large enough that a commit per piece costs little, small enough to show
# progress and to leave the server's threads to others.
_PIECE_BYTES = 4 << 20


@dataclass(frozen=True)
class Wire:
    """What a collection needs of its client: the limits of the server, how often calls are repeated, and how models are
    registered and fetched."""

    limits: pb.Limits
    retries: int
    register: Callable[[Binarizer], Steps[str]]
    fetch: Callable[[str], Steps[Binarizer]]


def sized_pieces(limits: pb.Limits, sizes: NDArray[np.int64], most_rows: int = 2**31) -> Iterator[slice]:
    """Rows of ``sizes`` bytes each, as many together as a request should have."""
    most = limits.message_bytes - OVERHEAD
    if len(sizes) and sizes.max() > most:
        raise LimitExceeded(
            f"row {sizes.argmax()} needs {sizes.max()} bytes: this server takes messages of {most + OVERHEAD}; "
            "shorten its payload, or start the server with a larger max_message_bytes"
        )
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        end = int(np.searchsorted(ends, before + min(_PIECE_BYTES, most), side="right"))
        end = min(max(end, start + 1), start + most_rows)
        yield slice(start, end)
        start = end


def key_sizes(ids: Named) -> NDArray[np.int64]:
    """Bytes that the key of each takes in a message, at most."""
    if ids.keys is None:
        return np.zeros(len(ids), np.int64)
    return np.fromiter((len(key) + 8 for key in ids.keys), np.int64, len(ids))


def text_sizes(texts: Sequence[str]) -> NDArray[np.int64]:
    """Bytes that each takes in a message, at most."""
    return np.fromiter((len(text.encode()) + 8 for text in texts), np.int64, len(texts))


def as_sent(floats: NDArray[np.float32], given: VectorsLike) -> NDArray[np.floating]:
    """float16 that was given is sent as such; it became float32 and comes back without loss."""
    return floats.astype(np.float16) if getattr(given, "dtype", None) == _HALF else floats
