"""Models whose queries search an older model's codes (docs/method.md, "Versions").

The codes of the new model are left as they are; compatibility is two maps beside them (bebr/binarizer/maps.py). The
*bridge* brings a new query into the space of the old decoder, where frozen old codes are scored; the *upgrade* brings
old codes, decoded, into the new model's space. Both start from ridge regression and are trained towards the
neighbourhoods that the two producers' floats see, and towards the item itself.

The old producer's neighbourhoods weigh more: the newer producer is not always the better one, and nothing here can
tell. Levels (descend_map._unlike) keep scores on old codes on one line with the new model's own, for all queries at
once. The contrastive part moves an item's own code up at a small cost to its neighbours. Figures of each part:
docs/experiments/compatibility.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bebr.arrays import Floats, as_vectors, normalized
from bebr.binarizer import Binarizer
from bebr.binarizer.codes import Query
from bebr.binarizer.maps import BRIDGE, UPGRADE
from bebr.exact import similarity, top
from bebr.threads import blas_threads
from bebr.training.compat.mapping import MOST_BASE, MOST_QUERIES, fit_map
from bebr.training.compat.problem import Problem
from bebr.training.linear.closed_form import Progress

_FEWEST, _MOST_HELD_OUT = 16, 2_000  # rows held out
_MOST_VECTORS = 65_536
_CALIBRATED = 50  # best documents a query, over which scores are made comparable


def check_compatible(x: ArrayLike, old: Binarizer | None, old_vectors: ArrayLike | None, metric: str) -> None:
    """``ValueError`` for what :func:`make_compatible` could only find after the training."""
    if old is None or old_vectors is None:
        missing = "old_vectors" if old is not None else "compatible_with"
        raise ValueError(f"{missing} is missing: compatible_with= and old_vectors= come together")
    if not isinstance(old, Binarizer):
        raise ValueError(f"compatible_with is a {type(old).__name__}: want a bebr.Binarizer")
    if old.metric != metric:
        raise ValueError(f"compatible_with has metric {old.metric!r}: want {metric!r}, that of the new model")
    new_shape, old_shape = np.shape(x), np.shape(old_vectors)
    if len(old_shape) != 2 or old_shape[1] != old.input_dim:
        raise ValueError(f"old_vectors has shape {old_shape}: want (n, {old.input_dim}), the input of the old model")
    if old_shape[0] != new_shape[0]:
        raise ValueError(
            f"old_vectors has {old_shape[0]} rows and x {new_shape[0]}: want the same items, row by row, in both"
        )
    if old_shape[0] < 2 * _FEWEST:
        raise ValueError(f"old_vectors has {old_shape[0]} rows: want at least {2 * _FEWEST}")


def make_compatible(
    new: Binarizer,
    old: Binarizer,
    x: ArrayLike,
    old_vectors: ArrayLike,
    *,
    seed: int = 0,
    epochs: int = 10,
    hidden: int = 512,
    progress: Progress | None = None,
) -> Binarizer:
    """``new`` with a bridge from and an upgrade to it for codes of ``old``; the codes it makes stay the same, to the
    bit.

    x, old_vectors: float32[n, d] and float32[n, d_old], row i of both the same item as the two producers see it. At
    most 65,536 rows are used, drawn with ``seed``; a tenth of them (at most 2,000) chooses and calibrates.
    epochs, hidden: of the gradient training and the hidden layer of each map; ``epochs=0``: ridge regression alone.
    ``config["compatible"][digest]`` has the held-out agreement with both producers' neighbours at the start ("ridge")
    and at the end, for bridge and upgrade, and ``calibration``: score as on own codes = a * score + b.
    Raises ``ValueError``, which names the argument.
    """
    check_compatible(x, old, old_vectors, new.metric)
    rows = np.random.default_rng(seed).permutation(len(np.asarray(x)))[:_MOST_VECTORS]
    held, kept = np.split(np.arange(len(rows)), [min(max(_FEWEST, len(rows) // 10), _MOST_HELD_OUT)])
    fresh = as_vectors(np.asarray(x)[rows], "x", new.input_dim)
    aged = as_vectors(np.asarray(old_vectors)[rows], "old_vectors", old.input_dim)

    own = _inner(new, fresh)
    new_codes, old_codes = new.encode(fresh), old.encode(aged)
    coded = new.decode(new_codes)
    coded = normalized(coded) if new.metric == "cosine" else coded
    scored = old._scored(old_codes)
    # Without a decoder the old model's scores are taken in code space, and so is what the bridge aims at.
    past = _inner(old, aged)
    target = past if old._decoder is not None else scored
    unit = new.metric == "cosine"
    bridged_unit = unit and old._decoder is not None
    both = (own, past)
    bridge = Problem(BRIDGE, (own, coded), target, scored, both, "query", new.metric, bridged_unit, held, kept)
    upgrade = Problem(UPGRADE, (scored,), own, own, both, "document", new.metric, unit, held, kept)
    report = progress or (lambda stage, done, total: None)
    tensors, facts = dict(new._tensors), {}
    for problem in (bridge, upgrade):
        with blas_threads(fresh.size * aged.shape[1]):
            weights, facts[problem.name] = fit_map(problem, seed, epochs, hidden, report)
        tensors |= weights.tensors(f"{problem.name}.{old.digest}")
    entry = {
        "input_dim": old.input_dim,
        "inner_dim": scored.shape[1],
        "heldout": facts,
        "calibration": {"float": [1.0, 0.0], "code": [1.0, 0.0]},
    }
    config = new.config
    known = dict(config.get("compatible") or {})
    rough = Binarizer(tensors, config | {"compatible": known | {old.digest: entry}})
    queries, base = held[:MOST_QUERIES], kept[:MOST_BASE]
    documents = {old.digest: scored[base], new.digest: new._scored(new_codes[base])}
    entry["calibration"] = {
        mode: _calibration(rough, old, new, fresh[queries], documents, mode) for mode in ("float", "code")
    }
    return Binarizer(tensors, config | {"compatible": known | {old.digest: entry}})


def _inner(bz: Binarizer, x: Floats) -> Floats:
    """Vectors in the space that codes decode to."""
    inner = bz._enter(x)
    return normalized(inner) if bz.metric == "cosine" else inner


def _calibration(
    rough: Binarizer, old: Binarizer, new: Binarizer, queries: Floats, documents: dict[str, Floats], mode: Query
) -> list[float]:
    """(a, b) of the least-squares line from scores on old codes to scores on new codes of the same documents, over
    the best of the old: so merged hits of both are in the order of the expected new score."""
    bridged = rough._map("bridge", old)(rough._query_vectors(queries, mode))
    if old.metric == "cosine" and old._decoder is not None:
        bridged = normalized(bridged)
    before = _scores(bridged, documents[old.digest], old.metric)
    after = _scores(new._query_vectors(queries, mode), documents[new.digest], new.metric)
    depth = min(_CALIBRATED, before.shape[1])
    ranked = -before if old.metric == "l2" else before
    best = top(ranked, depth)
    s, t = (np.take_along_axis(m, best, axis=1).astype(np.float64).ravel() for m in (before, after))
    variance = float(s.var())
    slope = float(np.mean((s - s.mean()) * (t - t.mean()))) / variance if variance > 0 else 0.0
    # A line that does not rise would turn the order of hits round; then only the level is matched.
    slope = slope if slope > 0 else 1.0
    return [slope, float(t.mean() - slope * s.mean())]


def _scores(queries: Floats, documents: Floats, metric: str) -> Floats:
    scores = similarity(queries, documents, metric)
    own = np.einsum("ij,ij->i", queries, queries)[:, None]
    return np.asarray(own - scores if metric == "l2" else scores, np.float32)
