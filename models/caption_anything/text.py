"""Text in pictures, by RapidOCR: a package that brings its models with it and asks no server."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from bebr.models.caption_anything.port import Line

__all__ = ["Rapid"]


class Rapid:
    """Lines that are read with a score above ``least``. ImportError naming what to install."""

    def __init__(self, least: float = 0.2) -> None:
        if not 0 <= least < 1:
            raise ValueError(f"least: got {least}, wanted 0 to below 1")
        try:
            package = importlib.import_module("rapidocr_onnxruntime")
        except ImportError as error:
            raise ImportError(f"reading text needs it ({error}): pip install rapidocr-onnxruntime") from error
        self.least, self._read = least, package.RapidOCR()

    def __call__(self, picture: Any) -> list[Line]:
        found, _ = self._read(np.asarray(picture)[..., ::-1])  # blue, green, red
        lines = []
        for corners, text, score in found or ():
            x, y = np.asarray(corners, float).T
            if float(score) > self.least:
                lines.append(Line(str(text), (x.min(), y.min(), x.max(), y.max()), float(score)))
        return sorted(lines, key=lambda line: line.box[1])
