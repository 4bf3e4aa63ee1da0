"""π-Tuning: a task borrows the experts of tasks like it (Wu et al., ICML 2023, arXiv 2304.14381); one trunk, many
spaces.

A frozen trunk (OFA's encoder of pictures and texts) gets a small expert for each task. Fisher information says which
tasks are alike. The experts of the nearest ones and the task's own are interpolated, trained a little further, and
merged into one expert: it costs what one costs, and its vectors are another version of the producer.

``config.py`` sizes and files, ``positions.py`` buckets of distances, ``network.py`` the trunk, ``experts.py`` the three
kinds of expert, ``mixture.py`` interpolation and merging, ``published.py`` experts' files, ``fisher.py`` which tasks
are alike, ``held.py`` what a frozen trunk computes once of each item, ``training.py`` the loops, ``tokens.py`` texts,
``producer.py`` what ``bebr.models.load("pi-tuning")`` returns.

Written from the method's equations. What is ours is marked so where it stands; nothing trained here is a reproduction.
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
    expert: str | Path | None = None,
    device: str = "cpu",
) -> Any:
    """The producer, from a folder that ``save`` wrote or a file of OFA's keys: see ``producer.PiTuning``."""
    try:
        from bebr.models.pi_tuning.producer import PiTuning
    except ImportError as error:
        raise ImportError(
            f"the pi-tuning producer needs torch and tokenizers ({error}): pip install 'bebr[models]'"
        ) from error
    return PiTuning.load(weights, size, image_size, vocabulary, expert, device)
