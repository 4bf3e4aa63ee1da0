"""Options of training on pairs. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import Floats, Ids, as_vectors, normalized

_STEPS, _LEAST_BATCH, _MOST_BATCH = 16, 64, 1_000  # of an epoch; pairs
# With fewer training pairs the loss also keeps the floats' own neighbourhoods (docs/experiments/pairs.md).
_FEW = 500


@dataclass(frozen=True)
class PairSettings:
    """How :func:`bebr.training.gradient.pairs.train_pairs` trains; ``ValueError`` names the option that is wrong.

    two_encoders: an adapter for queries (any dimension) and another for documents, into one space of d dimensions.
    hidden: units of the adapter. epochs, learning_rate, weight_decay: AdamW with a cosine schedule.
    batch: pairs of a step; None: a sixteenth of them, 64 to 1,000.
    temperature: of the cosines, in both losses. negatives: how many count, the hardest ones.
    queue: batches of a momentum copy's vectors that serve as more negatives; 0: the batch's own only.
    distill: weight of keeping the float neighbourhoods of ``x``; None: 1 with under 500 training pairs, else 0.
    score_weight, score_temperature: of a teacher's scores (:class:`Teacher`).
    device: where torch trains the adapter: ``"cpu"``, ``"cuda"``.
    """

    two_encoders: bool = False
    hidden: int = 1024
    epochs: int = 20
    batch: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    temperature: float = 0.05
    negatives: int = 5
    queue: int = 0
    distill: float | None = None
    score_weight: float = 1.0
    score_temperature: float = 1.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, least in (("hidden", 1), ("epochs", 0), ("batch", 8), ("negatives", 1), ("queue", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
            if not whole and not (name == "batch" and value is None):
                raise ValueError(f"{name} is {value!r}: want an integer >= {least}")
        for name in ("learning_rate", "temperature", "score_temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)!r}: want a number above 0")
        for name in ("weight_decay", "score_weight", "distill"):
            value = getattr(self, name)
            if not (0 <= value < float("inf") if value is not None else name == "distill"):
                raise ValueError(f"{name} is {value!r}: want a number of at least 0")

    def resolved(self, pairs: int) -> PairSettings:
        """With ``batch`` and ``distill`` as they follow from the number of training pairs."""
        batch = min(max(_LEAST_BATCH, pairs // _STEPS), _MOST_BATCH) if self.batch is None else self.batch
        distill = float(pairs < _FEW) if self.distill is None else self.distill
        return replace(self, batch=batch, distill=distill)


@dataclass(frozen=True)
class Teacher:
    """A teacher's scores float32[p, c] (a cross-encoder's, say) of candidates int64[p, c], which are rows of ``pool``
    float32[r, d] (None: the pairs' documents). Training then lessens the divergence from the softmax of the scores."""

    scores: ArrayLike | None = None
    candidates: ArrayLike | None = None
    pool: ArrayLike | None = None

    def checked(self, documents: Floats) -> tuple[Ids, Floats, Floats] | None:
        """(candidates, scores, the unit vectors they are rows of); None without scores. ``ValueError`` names what is
        missing or of a wrong shape."""
        if (self.scores is None) != (self.candidates is None):
            raise ValueError("scores and candidates come together: one of them is missing")
        pool = None if self.pool is None else as_vectors(self.pool, "pool", documents.shape[1])
        if self.scores is None or self.candidates is None:
            if pool is not None:
                raise ValueError("pool is given without scores and candidates")
            return None
        vectors = documents if pool is None else normalized(pool)
        scores, rows = np.asarray(self.scores), np.asarray(self.candidates)
        if rows.dtype.kind not in "iu" or rows.ndim != 2 or len(rows) != len(documents) or rows.shape[1] < 2:
            raise ValueError(
                f"candidates has dtype {rows.dtype} and shape {rows.shape}: want int64 ({len(documents)}, c), c >= 2"
            )
        if rows.min() < 0 or rows.max() >= len(vectors):
            raise ValueError(f"candidates holds {rows.min()} to {rows.max()}: want rows 0 to {len(vectors) - 1}")
        if scores.dtype.kind not in "fiu" or scores.shape != rows.shape or not np.isfinite(scores).all():
            raise ValueError(
                f"scores has dtype {scores.dtype} and shape {scores.shape}: want finite float32 {rows.shape}, as "
                "candidates"
            )
        return rows.astype(np.int64), scores.astype(np.float32), vectors
