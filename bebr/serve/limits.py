"""What a server takes in one call. A call over a limit is refused early, with the limit in the message."""

from __future__ import annotations

from dataclasses import dataclass, field

from bebr.errors import LimitExceeded
from bebr.serve.admission import COPIES, default_budget, largest

_LEAST_MEMORY = 16 << 20
# Of a reply: its message and its bytes.
_REPLY_COPIES = 2
# Of an answer in a reply: id and score.
_ANSWER_BYTES = 12


@dataclass(frozen=True)
class Limits:
    """``message_bytes``: one request; less where ``memory_bytes`` has no room for so large a one. ``reply_bytes``: one
    reply; by default as many.
    ``queries``, ``k``: of one search. ``answers``: queries * k of one search. ``ids``: of one delete, get or allow, and
    rows of one scroll. ``calls``: at once, waiting ones included. ``memory_bytes``: held by all calls at once; by
    default a quarter of the memory that this process may use."""

    message_bytes: int = 64 << 20
    queries: int = 65_536
    k: int = 65_536
    answers: int = 4_000_000
    ids: int = 1_000_000
    calls: int = 4096
    memory_bytes: int = field(default_factory=default_budget)
    reply_bytes: int = 0

    def __post_init__(self) -> None:
        if self.memory_bytes < _LEAST_MEMORY:
            raise ValueError(f"max_memory_bytes is {self.memory_bytes}: want {_LEAST_MEMORY} or more")
        most = largest(self.memory_bytes)
        object.__setattr__(self, "message_bytes", min(self.message_bytes, most // COPIES))
        object.__setattr__(self, "reply_bytes", min(self.reply_bytes or self.message_bytes, most // _REPLY_COPIES))
        object.__setattr__(self, "answers", min(self.answers, self.reply_bytes // _ANSWER_BYTES))

    def check_search(self, queries: int, k: int) -> None:
        """``LimitExceeded`` if a search of this shape is too large."""
        if queries > self.queries:
            raise LimitExceeded(
                f"{queries} queries in one search: this server takes at most {self.queries}; split them"
            )
        if k > self.k:
            raise LimitExceeded(f"k is {k}: this server takes at most {self.k}")
        if queries * k > self.answers:
            raise LimitExceeded(
                f"{queries} queries with k = {k} ask for {queries * k} answers: "
                f"this server gives at most {self.answers} a call; send fewer queries or a smaller k"
            )

    def check_ids(self, data: bytes, name: str) -> None:
        """``LimitExceeded`` if a column of int64 has too many ids."""
        if len(data) // 8 > self.ids:
            raise LimitExceeded(f"{name} has {len(data) // 8} ids: this server takes at most {self.ids} a call")

    def check_rows(self, rows: int) -> None:
        """``LimitExceeded`` if a page of a scroll has too many rows."""
        if rows > self.ids:
            raise LimitExceeded(f"limit is {rows}: this server takes at most {self.ids} rows a call")

    def check_reply(self, size: int) -> None:
        """``LimitExceeded`` if a reply of ``size`` bytes is too large (payloads make it so)."""
        if size > self.reply_bytes:
            raise LimitExceeded(
                f"the reply would have {size} bytes: this server sends at most {self.reply_bytes} "
                "(max_reply_bytes); ask for fewer rows, or search without payloads and get them by id"
            )
