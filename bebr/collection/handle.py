"""Connections and open folders cannot be sent elsewhere; they say so in words."""

from __future__ import annotations

from typing import Any


class Handle:
    """Base of what stands for something open: a connection, a database, a collection of either."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"{self!r} cannot be pickled or copied: open it anew where it is needed, "
            "by bebr.connect (from many processes) or bebr.open"
        )
