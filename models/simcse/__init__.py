"""SimCSE: sentence vectors from BERT or RoBERTa by contrast (Gao, Yao, Chen, EMNLP 2021, arXiv 2104.08821).

Two passes of one sentence through the same network differ by their dropout alone; the unsupervised variant draws these
together and away from the other sentences of the batch. The supervised one has pairs that entail each other, and a
contradiction for each as a hard negative.

``config.py`` sizes and file layout, ``network.py`` the encoder, ``loss.py`` the contrast, ``training.py`` a loop,
``producer.py`` what ``bebr.models.load("simcse")`` returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(
    weights: str | Path | None = None,
    variant: str | None = None,
    max_tokens: int | None = None,
    device: str = "cpu",
) -> Any:
    """The producer, from a folder in the layout of the published checkpoints: see ``producer.SimCSE``."""
    try:
        from bebr.models.simcse.producer import SimCSE
    except ImportError as error:
        raise ImportError(
            f"the simcse producer needs torch and tokenizers ({error}): pip install 'bebr[models]'"
        ) from error
    return SimCSE.load(weights, variant, max_tokens, device)
