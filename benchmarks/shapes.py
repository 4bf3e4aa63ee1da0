"""Drawings of plain things with names, made here: a red star, a blue house. Pictures on pages are drawn from them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["COLOURS", "SHAPES", "drawings"]

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

COLOURS = {
    "red": (214, 48, 49),
    "orange": (240, 140, 20),
    "yellow": (250, 215, 60),
    "green": (40, 150, 70),
    "blue": (40, 90, 210),
    "violet": (130, 60, 170),
}
_CROSS = [(-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35)]
_CROSS += [(0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35)]
_FINE = 4  # a pixel is so many across while it is drawn


def _round(radii: Sequence[float], first: float = -np.pi / 2) -> Points:
    """Points at these distances from the middle, equal angles apart, the first one on top."""
    at = first + 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.stack([np.cos(at), np.sin(at)], 1) * np.array(radii)[:, None]


def _heart() -> Points:
    at = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    height = 13 * np.cos(at) - 5 * np.cos(2 * at) - 2 * np.cos(3 * at) - np.cos(4 * at)
    return np.stack([np.sin(at) ** 3, -height / 16 - 0.08], 1)


SHAPES: dict[str, Points] = {
    "disc": _round([0.9] * 60),
    "star": _round([1.0, 0.42] * 5),
    "heart": _heart(),
    "cross": np.array(_CROSS),
    "house": np.array([[-0.75, 0.95], [-0.75, -0.1], [-1, -0.1], [0, -1], [1, -0.1], [0.75, -0.1], [0.75, 0.95]]),
    "arrow": np.array([[-1, -0.3], [0.1, -0.3], [0.1, -0.9], [1, 0], [0.1, 0.9], [0.1, 0.3], [-1, 0.3]]),
    "flower": _round([0.72 + 0.28 * float(np.cos(6 * at)) for at in np.linspace(0, 2 * np.pi, 90, endpoint=False)]),
}
"""Outlines within -1 to 1, column and row."""


def drawings(size: int = 96, seed: int = 0) -> tuple[Pixels, list[str]]:
    """uint8 [n, size, size, 4] of every shape in every colour, with their names. By ``seed`` each is turned, squeezed
    and tinted a little: another style."""
    random = np.random.default_rng(seed)
    made = importlib.import_module("PIL.Image")
    draw = importlib.import_module("PIL.ImageDraw")
    out, names = [], []
    for shape, outline in SHAPES.items():
        for colour, tone in COLOURS.items():
            turn, squeeze = random.normal(0, 0.12), 1 - 0.2 * random.random(2)
            tint = np.clip(np.array(tone) + random.integers(-16, 17, 3), 0, 255)
            c, s = np.cos(turn), np.sin(turn)
            points = outline * squeeze @ np.array([[c, s], [-s, c]])
            picture = made.new("RGBA", (size * _FINE, size * _FINE))
            for share, light in ((0.94, 0), (0.7, 24)):  # a lighter inside, as of something solid
                fill = (*(int(one) for one in np.minimum(tint + light, 255)), 255)
                corners = (1 + share * points) * size * _FINE / 2
                draw.Draw(picture).polygon([tuple(one) for one in corners.tolist()], fill)
            out.append(np.asarray(picture.resize((size, size))))
            names.append(f"{colour} {shape}")
    return np.stack(out), names
