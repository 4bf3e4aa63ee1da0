"""BoxSnake: polygons of objects, learned from boxes alone (Yang et al., ICCV 2023, arXiv 2303.11630).

A detector's boxes get an outline each: vertices that start on an ellipse look at the picture and move. No mask is ever
seen: the outline has to fill its box, to part colours that differ and to leave alike ones together.

``raster.py`` polygons to soft masks, ``loss.py`` the three losses, ``colour.py`` and ``align.py`` what they see,
``direct.py`` one polygon an instance without a network, ``polygons.py`` shape vectors and pooling; ``config.py`` sizes
and file layout, ``backbone.py``, ``detector.py``, ``decoder.py`` and ``network.py`` the network, ``files.py`` released
files, ``data.py`` and ``training.py`` a loop for small ones, ``producer.py`` what ``bebr.models.load("boxsnake")``
returns.

Written from the method's equations; the rasterizer is ours (the released one needs CUDA), and so is what is indexed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(
    weights: str | Path | None = None,
    size: str | None = None,
    device: str = "cpu",
    vector: str = "look",
    least: float | str = 0.5,
    most: int = 100,
) -> Any:
    """The producer, from a folder that ``save`` wrote or a released file: see ``producer.BoxSnake``."""
    try:
        from bebr.models.boxsnake.producer import BoxSnake
    except ImportError as error:
        raise ImportError(f"the boxsnake producer needs torch ({error}): pip install 'bebr[models]'") from error
    return BoxSnake.load(weights, size, device, vector, least, most)
