"""Which shard a row is in, and requests by ids taken apart by it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Ids
from bebr.collection.keys import Named


def shard_numbers(ids: Named, shards: int) -> Ids:
    """The shard of each of n ids, int64[n]: a hash of its number, which for a string or a UUID is one already.

    Rows are found by it, as long as they live: it is part of how collections are stored. The hash is the end of
    splitmix64 (Steele, Lea and Flood, 2014), so that ids in steps are spread evenly, too.
    """
    mixed = ids.numbers.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed % np.uint64(shards)).astype(np.int64)


def divided(ids: Named, shards: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The shards that some of the ids are in, each with the places of these, int64[m] ascending."""
    numbers = shard_numbers(ids, shards)
    for shard in np.unique(numbers).tolist():
        yield shard, np.flatnonzero(numbers == shard)
