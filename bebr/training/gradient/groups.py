"""Which pairs belong together: those that share a row are no negatives of one another and are held out together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Groups = NDArray[np.int64]


def joined(*sides: NDArray[np.generic]) -> Groups:
    """Group of each pair, int64[p]: the connected components of "equal in at least one side".

    sides: [p] or [p, d] each, compared whole. A group is named by its first pair.
    """
    classes = [np.unique(side, axis=0, return_inverse=True)[1].reshape(-1) for side in sides]
    parent = np.arange(len(sides[0]), dtype=np.int64)
    while True:  # a chain of k shared rows takes at most k rounds; real ones two or three
        before = parent
        for same in classes:
            lowest = np.full(int(same.max(initial=0)) + 1, len(parent), np.int64)
            np.minimum.at(lowest, same, parent)
            parent = lowest[same]
        if np.array_equal(parent, before):
            return parent


def split(groups: Groups, share: int, seed: int) -> tuple[Groups, Groups]:
    """Rows held out (at most ``share``) and rows kept, in random order; a group goes to one side as a whole.

    Groups come in random order; one that does not fit any more is kept, so a group of half the pairs is no trouble.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first, inverse, sizes = np.unique(groups[order], return_index=True, return_inverse=True, return_counts=True)
    taken, left = np.zeros(len(sizes), bool), share
    for group in np.argsort(first):
        if sizes[group] <= left:
            taken[group] = True
            left -= int(sizes[group])
        if not left:
            break
    held = taken[inverse.reshape(-1)]
    return order[held], order[~held]
