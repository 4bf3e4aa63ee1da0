"""Indexes over codes: all of them scored (FlatIndex), the lists nearest to a query (IVFIndex), or those met on a
walk through a graph (GraphIndex)."""

from bebr.index.base import Hits, Index, RangeHits, check_integer, check_k, check_oversampling
from bebr.index.files import open_index
from bebr.index.flat import FlatIndex
from bebr.index.graph import GraphIndex
from bebr.index.ivf import IVFIndex, Margin
from bebr.index.maxsim import MaxSimIndex

__all__ = [
    "FlatIndex",
    "GraphIndex",
    "Hits",
    "IVFIndex",
    "Index",
    "Margin",
    "MaxSimIndex",
    "RangeHits",
    "check_integer",
    "check_k",
    "check_oversampling",
    "open_index",
]
