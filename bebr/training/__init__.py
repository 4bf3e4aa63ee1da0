"""Training: one entry over the recipes. The default needs numpy only; ``architecture="recurrent"`` and ``pairs=``
need torch."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import Floats, as_array, as_vectors, check_length, check_seed, check_whole, normalized
from bebr.binarizer import Binarizer
from bebr.binarizer.config import METRICS
from bebr.binarizer.factors import factor_dtype
from bebr.extras import needed
from bebr.threads import blas_threads
from bebr.training.compat.compatible import check_compatible, make_compatible
from bebr.training.gradient.settings import PairSettings, Teacher
from bebr.training.linear.closed_form import Progress
from bebr.training.linear.factor_bytes import choose_factor_bytes
from bebr.training.linear.fitting import fit_linear
from bebr.training.linear.planes import choose_planes
from bebr.training.linear.shrinkage import TRUST, are_few, filled_up
from bebr.training.linear.widths import FACTOR_BYTES, choose_widths, most_bytes
from bebr.training.planning.planner import plan

__all__ = ["plan", "train"]

_log = logging.getLogger("bebr.training")

Architecture = Literal["linear", "recurrent"]

# More vectors take time and do not raise recall (docs/experiments/recipe-parts.md).
MOST_VECTORS = 131_072
# Bytes from which a factor of the sign plane's own costs no recall (docs/experiments/stage-factor.md).
STAGE_FACTOR_FROM = 100


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
    factor_bytes: int | None = None,
    stage_factor: bool | None = None,
    compatible_with: Binarizer | None = None,
    old_vectors: ArrayLike | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Binarizer:
    """Train a binarizer, the model that turns vectors into codes, on embeddings ``x``.

    >>> bz = bebr.train(x, bytes_per_vector=52, metric="cosine")
    >>> index = bebr.FlatIndex(bz)

    x: float32[n, d], n >= 1, 1 <= d <= 4096. At most 131,072 of the vectors are used, drawn with ``seed``. With fewer
        than 4 d vectors, mean and covariance are shrunk towards those of unknown data (:func:`bebr.untrained`);
        ``config["trust"]`` says how far (:class:`bebr.training.linear.shrinkage.Trust`).
    bytes_per_vector: bytes stored per vector, factors included. Dims and planes follow from the data's spectrum; planes
        have equal widths if that recalls more on held-out vectors. Instead of bytes you can give ``dims`` (a multiple
        of 8) with ``bits`` (number of planes of equal width, 1 to 8), or ``widths`` (bits of each plane), or:
    target_recall: the fewest bytes with this recall@10 for float queries among all of x, as :func:`plan` finds them.
    metric: ``"cosine"``, ``"ip"`` or ``"l2"``.
    architecture: ``"linear"`` (default): closed form, then alternating least squares (docs/method.md), with the
        ``options`` of :func:`bebr.training.linear.fitting.fit_linear`. ``"recurrent"``: the paper's network (section
        3.2), with the ``options`` of :func:`bebr.training.gradient.recurrent.train_recurrent`; needs torch.
    pairs: (queries, documents), float32[p, d] each; row i of one belongs to row i of the other (docs/method.md,
        "Pairs"). Training then moves queries towards their documents. Further ``options``: those of
        :class:`bebr.training.gradient.settings.PairSettings`, and ``labels``, ``scores`` with ``candidates``, and
        ``checkpoint`` of :func:`bebr.training.gradient.pairs.train_pairs`. Needs torch.
    factor_bytes: bytes of the factor stored with each code. None, with ``bytes_per_vector``: 1 or 2, whichever recalls
        more on held-out vectors at equal total bytes; otherwise 2. In both cases 4 if fp16 cannot represent the
        factors (inner product and l2 of vectors whose lengths differ by orders of magnitude).
    stage_factor: whether the sign plane has its own factor, of as many bytes, taken from the planes. A search then
        completes a tenth to two thirds fewer rows after its first stage (docs/experiments/stage-factor.md). None:
        from 100 ``bytes_per_vector`` on, where it costs no recall. Only for ``"linear"``.
    compatible_with, old_vectors: an older model, and its producer's vectors float32[n, d_old] of the same items as
        ``x``, row by row. Queries of the new model can then search codes of the old one
        (:func:`bebr.training.compat.compatible.make_compatible`). The new model's own codes do not change.
    seed: of all random choices. The same data, options and seed give the same model, to the bit, on every instruction
        set (``BEBR_ISA``). The BLAS of another machine may round differently.
    progress: called with (stage, done, total).
    Raises ``ValueError``, which names the argument.
    """
    for name, value in (("bytes_per_vector", bytes_per_vector), ("dims", dims), ("bits", bits)):
        if value is not None:
            check_whole(value, name)
    if widths is not None and np.ndim(widths) != 1:
        raise ValueError(f"widths is {widths!r}: want the bits of each plane, as (64, 32)")
    check_seed(seed)
    if stage_factor and architecture != "linear":
        raise ValueError(f"stage_factor is for architecture='linear': got {architecture!r}")
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}: want one of {', '.join(METRICS)}")
    if architecture not in ("linear", "recurrent"):
        raise ValueError(f"architecture is {architecture!r}: want 'linear' or 'recurrent'")
    if compatible_with is not None or old_vectors is not None:
        check_compatible(x, compatible_with, old_vectors, metric)
        assert compatible_with is not None and old_vectors is not None
        named: dict[str, Any] = {"dims": dims, "bits": bits, "widths": widths, "pairs": pairs, "metric": metric}
        named |= {"bytes_per_vector": bytes_per_vector, "architecture": architecture, "factor_bytes": factor_bytes}
        named |= {"target_recall": target_recall, "stage_factor": stage_factor}
        alone = train(x, seed=seed, progress=progress, **named, **options)
        return make_compatible(alone, compatible_with, x, old_vectors, seed=seed, progress=progress)
    if target_recall is not None:
        if any(way is not None for way in (bytes_per_vector, dims, bits, widths)):
            raise ValueError("want exactly one of bytes_per_vector, dims with bits, widths or target_recall")
        if architecture != "linear":
            raise ValueError(f"target_recall is predicted for architecture='linear': got {architecture!r}")
        widths = plan(x, target_recall=target_recall, metric=metric, seed=seed, progress=progress).widths
    vectors = _sample(x, seed)
    least = 1 if architecture == "linear" else 2
    if len(vectors) < least:
        raise ValueError(f"x has {len(vectors)} vectors: want at least {least}; bebr.untrained needs none")
    if metric == "cosine":
        vectors = normalized(vectors)
    elif vectors.any():
        check_length(float(np.abs(vectors).max()) * math.sqrt(vectors.shape[1]), "the length of the longest of x")
    if factor_bytes is not None:
        factor_dtype(factor_bytes)

    largest = vectors.size * vectors.shape[1]  # multiply-adds of the covariance
    recipe = {
        name: options.pop(name) for name in ("rounds", "alpha", "tries") if name in options and architecture == "linear"
    }

    def sized(vectors: Floats, stage: bool, few: bool = False) -> tuple[tuple[int, ...], int | None]:
        wanted, choose = factor_bytes, None
        if architecture == "linear":
            # The closed form ranks planes wrongly, and so do queries that were drawn as Gaussians.
            if recipe.get("rounds") != 0 and not few:
                choose = functools.partial(choose_planes, metric=metric, seed=seed)
            if wanted is None and bytes_per_vector is not None:
                wanted = choose_factor_bytes(vectors, bytes_per_vector, metric, seed, stage)
                if few and wanted == 1 and bytes_per_vector > 2 * FACTOR_BYTES:
                    wanted = FACTOR_BYTES  # one byte, fitted to few rows, clips the factors of later ones
        beside = (wanted or FACTOR_BYTES) * (2 if stage else 1)
        return choose_widths(vectors, bytes_per_vector, dims, bits, widths, beside, choose), wanted

    if architecture == "linear":

        def fit(vectors: Floats) -> Binarizer:
            few = are_few(vectors)
            noted = {}
            if few:
                vectors, trust = filled_up(vectors, metric, seed)
                vectors = normalized(vectors) if metric == "cosine" else vectors
                noted[TRUST] = trust.to_json()
                _log.info(
                    "%d vectors are few for %d dimensions: %.0f%% of their mean and %.0f%% of what sets their "
                    "directions apart are trusted",
                    *(trust.rows, vectors.shape[1], 100 * trust.mean, 100 * trust.covariance),
                )
            stage = stage_factor
            if stage is None:
                stage = STAGE_FACTOR_FROM <= (bytes_per_vector or 0) <= most_bytes(vectors.shape[1])
            chosen, wanted = sized(vectors, stage, few)
            if len(chosen) == 1 and stage_factor is None and stage:  # no plane follows: nothing is left to complete
                stage = False
                chosen, wanted = sized(vectors, stage, few)
            return fit_linear(
                *(vectors, chosen, metric, seed, progress),
                factor_bytes=wanted,
                stage_factor=stage,
                noted=noted,
                **recipe,
            )

        if pairs is None:
            if options:
                unknown = next(iter(options))
                raise ValueError(f"unknown option {unknown!r} for architecture='linear': want rounds, alpha or tries")
            with blas_threads(largest):
                return fit(vectors)
        if metric != "cosine":
            raise ValueError(f"metric is {metric!r}: pairs want 'cosine', or architecture='recurrent' and unit vectors")
    with needed("train", "pairs=" if architecture == "linear" else "architecture='recurrent'"):
        from bebr.training.gradient.pairs import train_pairs
        from bebr.training.gradient.recurrent import train_recurrent
    if architecture == "linear" and pairs is not None:
        beside = {name: options.pop(name, None) for name in ("labels", "checkpoint")}
        teacher = Teacher(**{name: options.pop(name, None) for name in ("scores", "candidates", "pool")})
        known = ["labels", "scores", "candidates", "pool", "checkpoint", *(one.name for one in fields(PairSettings))]
        for name in options:
            if name not in known:
                raise ValueError(f"unknown option {name!r} for pairs=: want {', '.join(known)}")
        settings = PairSettings(**options)
        with blas_threads(largest):
            return train_pairs(vectors, fit, pairs, settings, teacher=teacher, seed=seed, progress=progress, **beside)
    with blas_threads(largest):
        chosen, factor_bytes = sized(vectors, False)
        return train_recurrent(
            vectors,
            widths=chosen,
            metric=metric,
            pairs=pairs,
            seed=seed,
            progress=progress,
            factor_bytes=factor_bytes,
            **options,
        )


def _sample(x: ArrayLike, seed: int) -> Floats:
    """At most MOST_VECTORS rows; a memory-mapped array is read for these rows only."""
    array = as_array(x, "x")
    if array.ndim == 2 and len(array) > MOST_VECTORS:
        rows = np.random.default_rng(seed).choice(len(array), MOST_VECTORS, replace=False)
        array = array[np.sort(rows)]
    return as_vectors(array, "x")
