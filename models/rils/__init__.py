"""RILS: masked reconstruction in language space (Yang et al., CVPR 2023, arXiv 2301.06958): texts find pictures.

A picture encoder of MAE's kind and a text encoder of CLIP's kind are drawn together by contrast. Beside it a quarter of
a picture's patches has to foretell the others, and is judged in the space of the text vectors: each patch, foretold and
real, is told apart by its likeness to the sentences of the batch.

``config.py`` sizes and file layout, ``vision.py`` and ``network.py`` the encoders, ``tokens.py`` CLIP's byte pairs,
``loss.py`` the two losses, ``data.py`` batches of pictures and texts, ``training.py`` a loop, ``producer.py`` what
``bebr.models.load("rils")`` returns.

No weights were published, and the paper's training settings are not known to us: nothing trained here is a
reproduction. Written from the method's equations; what is ours is marked so where it stands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(
    weights: str | Path | None = None,
    size: str | None = None,
    vocabulary: str | Path | None = None,
    device: str = "cpu",
) -> Any:
    """The producer, from a folder that ``save`` wrote or a checkpoint of a published size: see ``producer.Rils``."""
    try:
        from bebr.models.rils.producer import Rils
    except ImportError as error:
        raise ImportError(
            f"the rils producer needs torch and tokenizers ({error}): pip install 'bebr[models]'"
        ) from error
    return Rils.load(weights, size, vocabulary, device)
