"""Caption AnyThing: words for whatever is pointed at (Wang et al., arXiv 2305.02677), and regions as rows of an index.

A segmenter finds what a click, a box or nothing in particular means; a captioner names the crop; a refiner rewrites
that by length, tone and language. Each is a port: any model will do, and some that need none are here.

``port.py`` the interfaces, ``regions.py`` masks, crops and run lengths, ``segmenters.py`` by colour and by BoxSnake's
outlines, ``figures.py`` what stands out from its ground, ``sam/`` the paper's segmenter, ``captioners.py`` the nearest
captioned picture, ``refiners.py`` rules or a language model, ``looks.py`` how a region looks, ``text.py`` text in
pictures, ``producer.py`` all of it together; ``clip.py`` and ``clip_config.py`` what ``bebr.models.load("clip")``
returns.

What differs from the released code: a prompt of negative points alone needs a box, and says so; captions keep their
score; regions have vectors, by which they are searched. The paper reports cases only: there is no figure to reach.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bebr.models.caption_anything.captioners import Nearest
from bebr.models.caption_anything.figures import Figures
from bebr.models.caption_anything.port import (
    Captioner,
    Controls,
    Line,
    Look,
    Prompt,
    Refiner,
    Segmenter,
    TextReader,
)
from bebr.models.caption_anything.producer import CaptionAnything, Region
from bebr.models.caption_anything.refiners import ByModel, ByRules
from bebr.models.caption_anything.segmenters import Flood, Outlined

__all__ = [
    "ByModel",
    "ByRules",
    "CaptionAnything",
    "Captioner",
    "Controls",
    "Figures",
    "Flood",
    "Line",
    "Look",
    "Nearest",
    "Outlined",
    "Prompt",
    "Refiner",
    "Region",
    "Segmenter",
    "TextReader",
    "load_clip",
    "load_sam",
]


def load_clip(
    weights: str | Path | None = None,
    size: str | None = None,
    vocabulary: str | Path | None = None,
    device: str = "cpu",
) -> Any:
    """CLIP as a producer, from a folder that ``save`` wrote or a file of a published size: see ``clip.Clip``."""
    try:
        from bebr.models.caption_anything.clip import Clip
    except ImportError as error:
        raise ImportError(
            f"the clip producer needs torch and tokenizers ({error}): pip install 'bebr[models]'"
        ) from error
    return Clip.load(weights, size, vocabulary, device)


def load_sam(weights: str | Path | None = None, size: str | None = None, device: str = "cpu") -> Any:
    """SAM, from a folder that ``save`` wrote or a published file: see ``sam.producer.Sam``."""
    try:
        from bebr.models.caption_anything.sam.producer import Sam
    except ImportError as error:
        raise ImportError(f"sam needs torch ({error}): pip install 'bebr[models]'") from error
    return Sam.load(weights, size, device)
