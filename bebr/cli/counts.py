"""How many of something, in words."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """ "1 row", "2,000 rows"; ``several``: where that is not ``one`` and an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
