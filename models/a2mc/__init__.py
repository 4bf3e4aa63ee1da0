"""A2MC: skeleton clips told apart under attack (arXiv 2304.04023), on SCD-Net's encoders (arXiv 2309.05834).

Two graph networks read a clip of joints; one is pooled over joints and one over time, which gives two vectors. A clip's
views are drawn together by contrast against banks of negatives that are themselves learned to be hard, one view is
attacked first, and positives and negatives are mixed.

``skeleton.py`` graphs of joints, ``prepare.py`` where a clip begins, ``config.py`` sizes and the manifest,
``graph.py`` and ``network.py`` the encoders, ``contrast.py`` losses and banks, ``attack.py``, ``views.py`` how a clip
is changed in training, ``sets.py`` and ``synthetic.py`` labelled clips, ``training.py`` a loop, ``producer.py`` what
``bebr.models.load("a2mc")`` returns.

Written from the method's equations. No weights were published, and the authors' figures are not known to us: nothing
trained here is a reproduction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(weights: str | Path | None = None, size: str | None = None, device: str = "cpu") -> Any:
    """The producer, from a folder that ``save`` wrote or a checkpoint of the published class: see ``producer.A2mc``."""
    try:
        from bebr.models.a2mc.producer import A2mc
    except ImportError as error:
        raise ImportError(f"the a2mc producer needs torch ({error}): pip install 'bebr[models]'") from error
    return A2mc.load(weights, size, device)
