"""Training: one entry over the recipes. The default needs numpy only; ``architecture="recurrent"`` and ``pairs=``
need torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import Floats, as_vectors, normalized
from bebr.binarizer import METRICS, Binarizer
from bebr.train.closed_form import Progress
from bebr.train.fitting import fit_linear
from bebr.train.planner import plan
from bebr.train.widths import choose_widths

__all__ = ["plan", "train"]

Architecture = Literal["linear", "recurrent"]

# More vectors do not raise recall (RECALL.md), they only take time.
MOST_VECTORS = 131_072


def train(
    x: ArrayLike,
    *,
    bytes_per_vector: int | None = None,
    dims: int | None = None,
    bits: int | None = None,
    widths: Sequence[int] | None = None,
    target_recall: float | None = None,
    metric: str = "cosine",
    architecture: Architecture = "linear",
    pairs: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Binarizer:
    """Train a binarizer on embeddings.

    x: float32[n, d], n >= 2, 8 <= d <= 4096. At most 131,072 of the vectors are used, drawn with ``seed``.
    bytes_per_vector: bytes stored for a vector, factors included; dims and planes follow from the data's spectrum.
        Or name them: ``dims`` (multiple of 8) with ``bits`` (planes of equal width, 1 to 8), or ``widths``, the bits
        of each plane. Or ``target_recall``: the fewest bytes with that recall@10 for float queries among all of x, as
        :func:`plan` finds them.
    metric: ``"cosine"``, ``"ip"`` or ``"l2"``.
    architecture: ``"linear"``, the default: closed form, then alternating least squares (RECALL.md), with
        ``options`` of :func:`bebr.train.fitting.fit_linear`; ``"recurrent"``, the network of PAPER.md section 1, with
        ``options`` of :func:`bebr.train.recurrent.train_recurrent`, needs torch.
    pairs: (queries, documents), float32[p, d] each, row i of one belonging to row i of the other (PAPER.md section
    2); recurrent only.
    progress: called with (stage, done, total).
    Raises ``ValueError``, which names the argument.
    """
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}: want one of {', '.join(METRICS)}")
    if architecture not in ("linear", "recurrent"):
        raise ValueError(f"architecture is {architecture!r}: want 'linear' or 'recurrent'")
    if target_recall is not None:
        if any(way is not None for way in (bytes_per_vector, dims, bits, widths)):
            raise ValueError("want exactly one of bytes_per_vector, dims with bits, widths or target_recall")
        if architecture != "linear":
            raise ValueError(f"target_recall is predicted for architecture='linear': got {architecture!r}")
        widths = plan(x, target_recall=target_recall, metric=metric, seed=seed, progress=progress).widths
    vectors = _sample(x, seed)
    if len(vectors) < 2:
        raise ValueError(f"x has {len(vectors)} vectors: want at least 2")
    if metric == "cosine":
        vectors = normalized(vectors)
    chosen = choose_widths(vectors, bytes_per_vector, dims, bits, widths)
    if architecture == "linear":
        if pairs is not None:
            raise ValueError("pairs need architecture='recurrent'")
        unknown = [name for name in options if name not in ("rounds", "alpha", "tries")]
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r} for architecture='linear': want rounds, alpha or tries")
        return fit_linear(vectors, chosen, metric, seed, progress, **options)
    try:
        from bebr.train.recurrent import train_recurrent
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError(f"architecture='recurrent' needs {e.name}: pip install 'bebr[train]'") from e
    return train_recurrent(vectors, widths=chosen, metric=metric, pairs=pairs, seed=seed, progress=progress, **options)


def _sample(x: ArrayLike, seed: int) -> Floats:
    """At most MOST_VECTORS rows; a memory-mapped array is read for these rows only."""
    array = np.asarray(x)
    if array.ndim == 2 and len(array) > MOST_VECTORS:
        rows = np.random.default_rng(seed).choice(len(array), MOST_VECTORS, replace=False)
        array = array[np.sort(rows)]
    return as_vectors(array, "x")
