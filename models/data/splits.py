"""Fixed splits: which part a key is in depends on the seed and the key alone.

So an item stays in its part when the set around it grows or shrinks (as apt's lists do daily), and all items that share
a key - one emoji in four styles, the sentences of one document - stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

__all__ = ["split"]

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def split(keys: Sequence[str], shares: Mapping[str, float] | None = None, seed: int = 0) -> dict[str, list[int]]:
    """Positions of ``keys`` in each part, in the order of the sorted keys; ``shares`` (summing to 1) defaults to
    train .8, validation .1, test .1. Sizes are near the shares, not exact: each key is drawn for itself.

    Raises ValueError for shares that are negative or do not sum to 1.
    """
    shares = SHARES if shares is None else shares
    if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares: got {dict(shares)}, wanted parts of 1 that sum to 1")
    parts: dict[str, list[int]] = {part: [] for part in shares}
    for position in sorted(range(len(keys)), key=lambda position: keys[position]):
        parts[_part(keys[position], shares, seed)].append(position)
    return parts


def _part(key: str, shares: Mapping[str, float], seed: int) -> str:
    drawn = int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big") / 2**64
    reached = 0.0
    for part, share in shares.items():
        reached += share
        if drawn < reached:
            return part
    return [part for part, share in shares.items() if share > 0][-1]  # the last sum may be a rounding below 1
