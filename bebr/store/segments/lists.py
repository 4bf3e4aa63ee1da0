"""The lists that a seal writes its rows to: those of an earlier file of the collection, if one has such as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bebr.arrays import Floats
from bebr.index.ivf import IVFIndex
from bebr.index.segments import Effort
from bebr.store.segments.building import lists_for
from bebr.store.segments.segment import Segment
from bebr.store.snapshots.part import PartView

# How many times more or fewer lists an earlier file may have than one of these rows alone would.
_UNLIKE = 2
# Where a search for ten has to look at more than this share of the lists, it is no faster than a scan.
_WORTH = 0.5
_K = 10


@dataclass(frozen=True)
class Lists:
    """`centroids`: float32[nlist, d]; `effort`: what searches of the file need that was written to them last."""

    centroids: Floats
    effort: Effort

    @property
    def worth(self) -> bool:
        """Whether a search in them is faster than a scan."""
        return self.effort.at(_K) <= _WORTH * len(self.centroids)


def earlier_lists(views: Sequence[PartView], model: str, rows: int) -> Lists | None:
    """Of the newest of these files in codes of a `model` that has about as many as suit so many rows; None where there
    is none.

    In the same lists, rows of several files are to a search as rows of one: their centroids are ranked once."""
    wanted = lists_for(rows)
    for view in reversed(views):
        part, index = view.part, view.part.index
        if isinstance(part, Segment) and isinstance(index, IVFIndex) and index.binarizer.digest == model:
            fit = wanted <= _UNLIKE * index.nlist <= _UNLIKE**2 * wanted
            if fit and part.effort is not None:
                return Lists(index._engine.centroids, part.effort)
    return None
