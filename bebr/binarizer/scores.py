"""Between the engine's scores, of which larger ones are better, and the metric's own unit."""

from __future__ import annotations

import numpy as np

from bebr.arrays import Floats, as_radius
from bebr.binarizer.codes import PreparedQueries
from bebr.binarizer.config import BinarizerConfig


class Scores:
    """Of codes of one model. A query of another one is calibrated: its score s stands for a s + b."""

    def __init__(self, settings: BinarizerConfig) -> None:
        self._squared = settings.metric == "l2"
        self._scale = settings.factor_scale

    def of_engine(self, scores: Floats, offset: Floats, calibration: tuple[float, float]) -> Floats:
        """Scores of the engine as similarities, or squared distances for l2. ``offset``: of each one's query."""
        if self._squared:
            distance = offset - scores / np.float32(self._scale)
            scores = np.asarray(np.where(np.isfinite(scores), distance, np.inf), np.float32)
        a, b = calibration
        return scores if calibration == (1.0, 0.0) else np.asarray(np.float32(a) * scores + np.float32(b), np.float32)

    def to_engine(self, radius: float, prepared: PreparedQueries) -> Floats:
        """The engine's score that a row must lie above to be within ``radius`` of each query, float32[n]."""
        a, b = prepared.calibration
        with np.errstate(over="ignore"):  # beyond all numbers of a float32 is beyond all scores
            scores = np.full(len(prepared.y), (as_radius(radius) - b) / a).astype(np.float32)
            if self._squared:
                scores = np.asarray((prepared.offset - scores) * np.float32(self._scale), np.float32)
            return np.nextafter(scores, np.float32(-np.inf))
