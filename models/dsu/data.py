"""Pictures in batches: several of each identity, or any; mirrored and shifted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["identities", "moved"]


def identities(
    labels: npt.NDArray[np.int64], count: int, each: int, random: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of ``count`` identities, ``each`` of everyone, one behind the other. An identity comes once before any comes
    again; one with fewer rows gives some twice."""
    rows = [np.flatnonzero(labels == one) for one in np.unique(labels)]
    while True:
        order = random.permutation(len(rows))
        for start in range(0, len(rows) - count + 1, count):
            chosen = [rows[one] for one in order[start : start + count]]
            yield np.concatenate([random.choice(some, each, replace=len(some) < each) for some in chosen])


def moved(pictures: npt.NDArray[np.uint8], shift: int, random: np.random.Generator) -> Tensor:
    """uint8 [n, height, width, 3] to values 0 to 1, [n, 3, height, width]: half of them mirrored, each shifted by up to
    ``shift`` pixels down or up and to a side, its edge repeated (published: black)."""
    n, height, width = pictures.shape[:3]
    down, right = random.integers(-shift, shift + 1, (2, n, 1))
    rows = np.clip(np.arange(height) + down, 0, height - 1)
    columns = np.clip(np.arange(width) + right, 0, width - 1)
    columns = np.where(random.random((n, 1)) < 0.5, columns[:, ::-1], columns)
    cut = pictures[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return torch.from_numpy(cut).permute(0, 3, 1, 2).float() / 255
