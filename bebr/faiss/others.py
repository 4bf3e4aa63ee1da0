"""Functions that scripts call beside an index."""

from __future__ import annotations

from typing import Any

import numpy as np

from bebr.faiss.index import Index
from bebr.faiss.kinds import IndexIVF
from bebr.threads import get_num_threads, set_num_threads


def normalize_L2(x: Any) -> None:
    """Scales the rows of ``x`` float32[n, d] to unit length, in place; a zero row stays zero."""
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.ndim != 2:
        raise ValueError("x: want an array float32 (n, d)")
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    np.divide(x, lengths, out=x, where=lengths > 0)


def omp_set_num_threads(n: int) -> None:
    """Threads that searches and encoding use (`bebr.set_num_threads`)."""
    set_num_threads(n)


def omp_get_max_threads() -> int:
    """How many they use."""
    return get_num_threads()


def downcast_index(index: Index) -> Index:
    """``index``: it has its own class here."""
    return index


def extract_index_ivf(index: Index) -> IndexIVF:
    """``index``, if it has lists; else ``ValueError``."""
    if not isinstance(index, IndexIVF):
        raise ValueError(f"index is an {type(index).__name__}: want one with lists, as IVF1024,BEBR52")
    return index


def IndexIDMap(index: Index) -> Index:
    """``index``, which takes ids of its own accord; it must be empty, as in FAISS."""
    if index.ntotal:
        raise ValueError(f"index has {index.ntotal} rows: want an empty one")
    return index


IndexIDMap2 = IndexIDMap
