"""Rows of the tests of the contract."""

from __future__ import annotations

import numpy as np

BOOKS = [{"lang": ("de", "en", "fr")[i % 3], "year": 1990 + i % 40, "tags": [f"t{i % 7}", "all"]} for i in range(600)]


def stretched(vectors: np.ndarray) -> np.ndarray:
    """Vectors of different lengths."""
    return vectors * np.linspace(0.5, 2, len(vectors), dtype=np.float32)[:, None]
