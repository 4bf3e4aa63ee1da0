"""DSU: domain shifts with uncertainty (Li et al., ICLR 2022, arXiv 2202.03958): pictures of a style never seen.

A style shows in the mean and deviation of each channel of a feature map. In training these two are drawn anew around
their own values, as far as they differ within the batch: the network learns not to rely on them. At test nothing is
drawn and nothing is added.

``perturbation.py`` the drawing, its rivals, and ``plugged``, which puts either into any network for the time of a
training; ``config.py`` sizes and files, ``layers.py`` and ``network.py`` the residual networks, ``adaptation.py``
statistics at test, ``data.py`` batches, ``training.py`` the two published recipes, ``producer.py`` what
``bebr.models.load("dsu")`` returns.

Written from the method's equations. What is ours is marked so where it stands; nothing trained here is a reproduction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(weights: str | Path | None = None, size: str | None = None, device: str = "cpu") -> Any:
    """The producer, from a folder that ``save`` wrote or a file of the published layouts: see ``producer.Dsu``."""
    try:
        from bebr.models.dsu.producer import Dsu
    except ImportError as error:
        raise ImportError(f"the dsu producer needs torch ({error}): pip install 'bebr[models]'") from error
    return Dsu.load(weights, size, device)
