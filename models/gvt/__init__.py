"""GVT, a good visual tokenizer (Wang et al. 2023, arXiv 2305.12223): features distilled without hiding anything.

A vision transformer of EVA-02's kind (Fang et al. 2023, arXiv 2303.11331) learns to give the features of a teacher that
knows what pictures mean, for every patch of the whole picture: what a masked student would guess, it sees. A Perceiver
resampler then turns the patches into a few latents for a language model. Here the picture's vector is the mean of its
tokens, and the latents are its several vectors, compared by MaxSim (``bebr.MaxSimIndex``).

``config.py`` sizes and the manifest, ``layouts.py`` the files that are read, ``vision.py`` the encoder,
``perceiver.py`` the resampler, ``network.py`` both, ``distillation.py`` losses and arms, ``training.py`` a loop,
``producer.py`` what ``bebr.models.load("gvt")`` returns.

The authors released inference only; the distillation follows Feature Distillation (Wei et al. 2022, arXiv 2205.14141),
as they say they did. The teacher and the start that they used are not known to us, and the language model has no part
here. Nothing trained here is a reproduction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(weights: str | Path | None = None, size: str | None = None, device: str = "cpu") -> Any:
    """The producer, from a folder that ``save`` wrote or a file of the published layouts: see ``producer.Gvt``."""
    try:
        from bebr.models.gvt.producer import Gvt
    except ImportError as error:
        raise ImportError(f"the gvt producer needs torch ({error}): pip install 'bebr[models]'") from error
    return Gvt.load(weights, size, device)
