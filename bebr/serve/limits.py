"""What a server takes in one call. A call over a limit is refused early, with the limit in the message."""

from __future__ import annotations

from dataclasses import dataclass

from bebr.errors import LimitExceeded


@dataclass(frozen=True)
class Limits:
    """``message_bytes``: one request, or one search reply. ``queries``, ``k``: of one search. ``answers``: queries * k
    of one search. ``calls``: at once, waiting ones included."""

    message_bytes: int = 64 << 20
    queries: int = 65_536
    k: int = 65_536
    answers: int = 4_000_000
    calls: int = 4096

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

    def check_reply(self, size: int) -> None:
        """``LimitExceeded`` if a reply of ``size`` bytes is too large (payloads make it so)."""
        if size > self.message_bytes:
            raise LimitExceeded(
                f"the reply has {size} bytes: this server sends at most {self.message_bytes} (max_message_bytes); "
                "ask for fewer rows, or search without payloads and get them by id"
            )
