"""Indexes over codes: all of them scored (FlatIndex), or the lists nearest to a query (IVFIndex)."""

from bebr.index.base import Hits, Index, RangeHits, check_k
from bebr.index.files import open_index
from bebr.index.flat import FlatIndex, Refine
from bebr.index.ivf import IVFIndex, Margin

__all__ = ["FlatIndex", "Hits", "IVFIndex", "Index", "Margin", "RangeHits", "Refine", "check_k", "open_index"]
