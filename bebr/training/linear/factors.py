"""Factors of a trained binarizer: how many bytes they take and what they encode, measured on a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bebr.arrays import Floats
from bebr.binarizer import Binarizer

_INFINITY, _ONE = 0x7C00, 0x3C00  # fp16 patterns
# Room on either side of the sample's range, for vectors unlike it.
_HEADROOM = 0.05
# fp16 will do if it moves this share of the factors by no more than this of their spread or size.
_NEARLY_ALL, _HALF_ERROR = 0.95, 2e-3
# Below this share of their standard deviation, factors differ by rounding only.
_EQUAL = 1e-9


def fit_factors(
    named: dict[str, Floats], config: dict[str, Any], sample: Floats, factor_bytes: int | None
) -> dict[str, Any]:
    """``config`` with all that its factors need, fitted to the codes of ``sample`` float32[n, d].

    factor_bytes: 1, 2 or 4; None: 2, or 4 where fp16 does not hold what the sample needs.
    One byte of l2's squared norms is a straight line over their range, which recalls more than a logarithm
    (docs/experiments/factor-bytes.md).
    """
    plain = {k: v for k, v in config.items() if k not in ("factor_bytes", "factor_code", "stage_factor_code")}
    raw = Binarizer(named, plain | {"factor_bytes": 4, "factor_scale": 1.0, "factor_offset": 0.0})
    factors = raw.encode(sample).factors.astype(np.float64)
    if not factors.size:
        return plain
    line = raw.settings.factor == "sub"
    if line:
        plain |= _byte_line(factors) if factor_bytes == 1 else _half_line(factors[:, 0])
    if factor_bytes == 1:
        code = {"low": _ONE, "step": 4}  # the binade from 1 to 2
        codes = [code if line else _byte_log(column) for column in factors.T]
        keys = ["factor_code"] * (raw.settings.factor != "none") + ["stage_factor_code"] * raw.settings.stage_factor
        return plain | {"factor_bytes": 1} | dict(zip(keys, codes, strict=True))
    if factor_bytes is None:
        scaled = (factors - plain["factor_offset"]) * plain["factor_scale"] if line else factors
        factor_bytes = 2 if all(_half_holds(column, line) for column in scaled.T) else 4
    return plain if factor_bytes == 2 else plain | {"factor_bytes": factor_bytes}


def _half_line(norms: NDArray[np.float64]) -> dict[str, float]:
    """Scale and offset of squared norms in fp16, around their mean: deviations of a few spreads land round 1..8, where
    fp16 has 11 bits; 65,504 is its largest number."""
    spread = max(float(norms.std()), 1e-3 * float(norms.mean()), 1e-30)
    return {"factor_offset": float(norms.mean()), "factor_scale": float(2.0 ** np.round(-np.log2(spread)))}


def _byte_line(norms: NDArray[np.float64]) -> dict[str, float]:
    """Scale and offset that bring squared norms, those of the stage too, to 1..2: fp16 patterns are evenly spaced
    there."""
    low, high = float(norms.min()), float(norms.max())
    margin = max(_HEADROOM * (high - low), 1e-3 * high, 1e-30)
    scale = (255 / 256) / (high - low + 2 * margin)
    return {"factor_offset": low - margin - 1 / scale, "factor_scale": scale}


def _byte_log(factors: NDArray[np.float64]) -> dict[str, int]:
    """The code whose 256 patterns span the range of positive factors."""
    there = factors[factors > 0]
    if not len(there):
        return {"low": _ONE, "step": 1}
    first, last = (int(np.float16(v).view(np.uint16)) for v in (there.min(), there.max()))
    if last >= _INFINITY:
        raise ValueError(f"factor_bytes is 1, but factors reach {there.max():.4g}: want 4")
    margin = int(np.ceil(_HEADROOM * (last - first)))
    step = max(-(-(last - first + 2 * margin) // 255), 1)
    # Centred, so that what rounding the step up gains goes to both ends.
    low = (first + last - 255 * step) // 2
    return {"low": int(np.clip(low, 0, _INFINITY - 1 - 255 * step)), "step": step}


def _half_holds(factors: NDArray[np.float64], line: bool) -> bool:
    """Whether fp16 holds the factors, with room for eight times the largest, and moves all but a few of them little:
    against their spread where they are subtracted, against themselves where they multiply."""
    there = factors if line else factors[factors > 0]
    if not len(there):
        return True
    if np.abs(there).max() > np.finfo(np.float16).max / 8:
        return False
    low, high = np.quantile(there, [0.25, 0.75])
    if line and high - low < _EQUAL:
        return True
    error = np.abs(there.astype(np.float16) - there) / (high - low if line else there)
    return bool(np.quantile(error, _NEARLY_ALL) <= _HALF_ERROR)
