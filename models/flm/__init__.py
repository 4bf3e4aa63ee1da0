"""FLM: free language modelling of captions beside their pictures (Wang et al., CVPR 2023, arXiv 2303.14038).

Masked language modelling learns from the few tokens that it hides, and hides more than a prediction needs. Here two
streams read a caption, one forward and one in reverse, and a reconstructor foretells every token from the states before
it in the one and behind it in the other: all tokens are predicted, and each misses itself alone. The network looks at
the picture while it reads, so the reconstructor's first row is a vector of the pair, and ranks pairs.

``config.py`` sizes, ``files.py`` keys of checkpoints, ``masks.py`` who sees what, ``vision.py`` and ``network.py`` the
network, ``tokens.py`` the tokenizer, ``loss.py`` the objectives, ``cloze.py`` how they are compared, ``data.py`` pairs,
``training.py`` and ``ranking.py`` two loops, ``producer.py`` what ``bebr.models.load("flm")`` returns, ``rerank.py`` a
second look at an engine's hits.

The authors' code bears no licence: written from the method's equations. Nothing trained here is a reproduction; what is
ours is marked so where it stands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(
    weights: str | Path | None = None,
    size: str | None = None,
    image_size: int | None = None,
    vocabulary: str | Path | None = None,
    device: str = "cpu",
) -> Any:
    """The producer, from a folder that ``save`` wrote or a checkpoint of the published size: see ``producer.Flm``."""
    try:
        from bebr.models.flm.producer import Flm
    except ImportError as error:
        raise ImportError(
            f"the flm producer needs torch, tokenizers and Pillow ({error}): pip install 'bebr[models]'"
        ) from error
    return Flm.load(weights, size, image_size, vocabulary, device)
