"""Arms of one experiment under the same seeds: their differences, and how sure these are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Difference", "difference", "spread"]

# Student's t for a two-sided 95% interval, by degrees of freedom from 1 on.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences and its 95% interval; infinitely wide below two pairs."""

    mean: float
    low: float
    high: float
    pairs: int

    @property
    def verdict(self) -> str:
        """``"better"`` or ``"worse"`` where the interval leaves 0 out, else ``"undecided"``."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}] {self.verdict}"


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Of figures under the same seeds in the same order. ValueError where there are none or not as many of both."""
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"ours, theirs: got {len(ours)} and {len(theirs)} figures, wanted as many of both")
    gaps = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    half = math.inf
    if len(gaps) > 1:
        half = _T[min(len(gaps) - 1, len(_T)) - 1] * float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    mean = float(gaps.mean())
    return Difference(mean, mean - half, mean + half, len(gaps))


def spread(figures: Sequence[float]) -> str:
    """Mean and standard deviation, as ``.1234 ± .0056``; the mean alone of one figure."""
    mean = f"{np.mean(figures):.4f}"
    return f"{mean} ± {np.std(figures, ddof=1):.4f}" if len(figures) > 1 else mean
