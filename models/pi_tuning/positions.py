"""Relative positions as rows of OFA's tables: near ones each have a row, far ones share it. int64, from NumPy's cache:
a tensor made in inference mode could not be trained with.

Tokens: a distance r of less than half the buckets in size is its own row; beyond, rows are as wide as the logarithm of
r demands, up to the longest text. Parts of a picture: a row for each difference of rows and columns.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["image_rows", "image_table", "token_rows", "token_table"]

Rows = npt.NDArray[np.int64]


@lru_cache(maxsize=8)
def token_table(buckets: int, context: int) -> Rows:
    """[context, context]: entry (i, j) for a token at i that looks at one at j; 0 to 2 buckets - 2."""
    near = buckets // 2
    distance = torch.arange(context)[:, None] - torch.arange(context)[None]
    size = distance.abs().clamp(min=near - 1)
    # In float32, as the published tables were made: in float64 a few borders lie elsewhere.
    far = torch.ceil(torch.log(size / near) / math.log((context - 1) / near) * (near - 1)) + near
    rows = torch.where(size <= near, distance, far.long() * distance.sign())
    return (rows + buckets - 1).clamp(0, 2 * buckets - 2).numpy()


def token_rows(count: int, buckets: int, context: int) -> Rows:
    """[count, count] for a text of ``count`` tokens."""
    return token_table(buckets, context)[:count, :count]


@lru_cache(maxsize=8)
def image_rows(across: int, buckets: int) -> Rows:
    """[across^2, across^2] for a picture of ``across`` x ``across`` parts, row by row."""
    number = np.arange(across**2)
    down, right = (part[:, None] - part[None] + buckets - 1 for part in (number // across, number % across))
    return down * (2 * buckets - 1) + right


def image_table(buckets: int) -> Rows:
    """As files hold it, [buckets^2 + 1, buckets^2 + 1]: ``image_rows`` of the widest picture behind a first position
    that no picture here has."""
    last = (2 * buckets - 1) ** 2 + 2
    table = np.empty((buckets**2 + 1, buckets**2 + 1), np.int64)
    table[1:, 1:] = image_rows(buckets, buckets)
    table[0], table[:, 0], table[0, 0] = last - 2, last - 1, last
    return table
