"""Factors: the scalars stored beside a code, in 1, 2 or 4 bytes (csrc/code/factor.h reads them)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats

Factors = NDArray[np.uint8] | NDArray[np.float16] | NDArray[np.float32]

_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype(np.float16), 4: np.dtype(np.float32)}
_INFINITY = 0x7C00  # fp16 patterns below it are finite numbers, 0 or greater
# A factor farther from the range than this share of it is warned of; nearer ones lose little.
_FAR = 0.25


def factor_dtype(factor_bytes: int) -> np.dtype[Any]:
    """uint8, float16 or float32; ``ValueError`` unless ``factor_bytes`` is 1, 2 or 4."""
    if factor_bytes not in _DTYPES:
        raise ValueError(f"factor_bytes is {factor_bytes!r}: want 1, 2 or 4")
    return _DTYPES[factor_bytes]


@dataclass(frozen=True)
class ByteCode:
    """What a one-byte factor encodes: byte b is the fp16 whose bit pattern is low + b * step.

    Patterns of positive numbers are in the order of the numbers: over several binades this is a piecewise linear
    logarithm, inside one binade a straight line.
    """

    low: int
    step: int

    def __post_init__(self) -> None:
        if self.step < 1 or self.low < 0 or self.low + 255 * self.step >= _INFINITY:
            raise ValueError(
                f"factor code is low {self.low}, step {self.step}: want step >= 1 and 0 <= low, "
                f"low + 255 * step < {_INFINITY}"
            )

    @staticmethod
    def of(config: Mapping[str, Any] | None, key: str) -> ByteCode:
        """From the config of a binarizer; ``ValueError`` names ``key``."""
        low, step = (config.get("low"), config.get("step")) if isinstance(config, dict) else (None, None)
        if type(low) is not int or type(step) is not int:
            raise ValueError(f"{key} is {config!r}: want {{'low': fp16 pattern, 'step': patterns a byte}}")
        try:
            return ByteCode(low, step)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error

    @cached_property
    def values(self) -> Floats:
        """float32[256], ascending."""
        return (self.low + self.step * np.arange(256)).astype(np.uint16).view(np.float16).astype(np.float32)

    @cached_property
    def _between(self) -> Floats:
        """float32[255], the middle of each two neighbours."""
        return np.asarray((self.values[1:] + self.values[:-1]) / 2, np.float32)

    def nearest(self, factors: Floats) -> NDArray[np.uint8]:
        """The byte of the nearest value: uint8 of the same shape. Beyond the ends: the end."""
        return np.searchsorted(self._between, factors).astype(np.uint8)


def stored(factors: Floats, factor_bytes: int, code: ByteCode | None) -> Factors:
    """float32[n] as they are stored. ``code``: for one byte.

    ``ValueError`` for one that fp16 or float32 cannot hold. One byte holds what is beyond its range as the end of the
    range; ``RuntimeWarning`` if that is far.
    """
    if code is not None:
        _warn_if_far(factors, code)
        return code.nearest(factors)
    dtype = factor_dtype(factor_bytes)
    largest = np.finfo(dtype).max
    outside = np.flatnonzero(~(np.abs(factors) <= largest))
    if len(outside):
        first = factors[outside[0]]
        way_out = ": scale the vectors"
        if factor_bytes < 4 and np.isfinite(first):
            way_out = ": train with factor_bytes=4 or on vectors like these, or give bebr.untrained their length, norm="
        raise ValueError(
            f"x[{outside[0]}] has a factor of {first:.4g}, and {factor_bytes} bytes hold at most {largest:.6g}{way_out}"
        )
    return factors.astype(dtype)


def _warn_if_far(factors: Floats, code: ByteCode) -> None:
    low, high = float(code.values[0]), float(code.values[-1])
    margin = _FAR * (high - low)
    # Zero is the factor of a code without direction: such a code scores 0 whatever its factor.
    far = np.flatnonzero(((factors < low - margin) & (factors != 0)) | (factors > high + margin))
    if len(far):
        warnings.warn(
            f"{len(far)} of {len(factors)} factors lie far outside the {low:.4g} to {high:.4g} that one byte was "
            f"fitted to (x[{far[0]}]: {factors[far[0]]:.4g}), and are held as the nearest of these: their scores are "
            "off; train on vectors like these, or with factor_bytes=2",
            RuntimeWarning,
            stacklevel=4,
        )
