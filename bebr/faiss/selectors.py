"""Which ids a search or a removal is about, and what a search may be told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bebr.arrays import Ids, as_ids


class IDSelector(ABC):
    """A set of ids."""

    @abstractmethod
    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of ``ids`` int64[n] belong to it."""

    def is_member(self, id: int) -> bool:
        """Whether it has this one."""
        return bool(self.mask(np.array([id], np.int64))[0])


class IDSelectorAll(IDSelector):
    """All ids."""

    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        return np.ones(len(ids), np.bool_)


class IDSelectorBatch(IDSelector):
    """Those of an array int64[n]."""

    def __init__(self, ids: ArrayLike) -> None:
        self._ids = as_ids(ids, "ids")

    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        return np.isin(ids, self._ids)


IDSelectorArray = IDSelectorBatch


class IDSelectorRange(IDSelector):
    """From ``imin``, up to and without ``imax``."""

    def __init__(self, imin: int, imax: int) -> None:
        self._imin, self._imax = imin, imax

    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        return (ids >= self._imin) & (ids < self._imax)


class IDSelectorNot(IDSelector):
    """What another one leaves out."""

    def __init__(self, sel: IDSelector) -> None:
        self._sel = sel

    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        return ~self._sel.mask(ids)


class IDSelectorAnd(IDSelector):
    """What both have."""

    def __init__(self, lhs: IDSelector, rhs: IDSelector) -> None:
        self._lhs, self._rhs = lhs, rhs

    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        return self._lhs.mask(ids) & self._rhs.mask(ids)


class IDSelectorOr(IDSelector):
    """What either has."""

    def __init__(self, lhs: IDSelector, rhs: IDSelector) -> None:
        self._lhs, self._rhs = lhs, rhs

    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        return self._lhs.mask(ids) | self._rhs.mask(ids)


@dataclass
class SearchParameters:
    """sel: a search finds these ids only."""

    sel: IDSelector | None = None


@dataclass
class SearchParametersIVF(SearchParameters):
    """nprobe: lists that are looked at; None: the index's own."""

    nprobe: int | None = None


@dataclass
class SearchParametersHNSW(SearchParameters):
    """efSearch: candidates of the walk; None: the index's own."""

    efSearch: int | None = None
